//! Names every bound on hostile input, with its reason.
//!
//! A bound stands here and nowhere else; code that enforces one refers to it by name, so that an
//! auditor reads one file to know what a hostile input can cost.

use std::time::Duration;

/// Longest path inside a tree, in bytes: Linux's `PATH_MAX` less the terminating NUL.
pub const PATH_BYTES: usize = 4095;

/// Longest path component, in bytes: Linux's `NAME_MAX`.
pub const NAME_BYTES: usize = 255;

/// Most entries in one tree: a full Debian desktop has about 400,000.
pub const TREE_ENTRIES: usize = 2_000_000;

/// Most bytes of extended attributes on one entry: the kernel's `XATTR_LIST_MAX`.
pub const XATTR_BYTES: usize = 65_536;

/// Longest name of an extended attribute, in bytes: the kernel's `XATTR_NAME_MAX`.
pub const XATTR_NAME_BYTES: usize = 255;

/// Longest line of the file of extended attributes, in bytes: path, name and value at their bounds, every byte escaped, fit.
pub const XATTR_LINE_BYTES: usize = 4 * (PATH_BYTES + XATTR_NAME_BYTES) + 2 * XATTR_BYTES + 2;

/// Most bytes of names, link targets and attributes in one tree: TREE_ENTRIES times a usual path, and it fits in memory.
pub const TREE_TEXT_BYTES: usize = 256 << 20;

/// Most bytes that one layer may unpack to; the largest images in use (machine-learning runtimes) stay below.
pub const LAYER_BYTES: u64 = 8 << 30;

/// Most bytes that a layer may unpack to for each byte read, once past [`LAYER_RATIO_GRACE`]; binaries reach 10, logs 50.
pub const LAYER_RATIO: u64 = 200;

/// How many unpacked bytes a layer may have before [`LAYER_RATIO`] counts: unpacking them costs under a second.
pub const LAYER_RATIO_GRACE: u64 = 256 << 20;

/// Largest zstd window of a layer, as a power of two: 32 MiB, what `zstd --ultra -20` uses; it bounds memory.
pub const LAYER_WINDOW_LOG: u32 = 25;

/// Largest extended header of a tar member: attributes of [`XATTR_BYTES`] and two paths fit; Go's reader has the same bound.
pub const TAR_HEADER_BYTES: u64 = 1 << 20;

/// Largest zstd window of a segment, as a power of two: 64 MiB; Linux's reader takes up to 128 MiB (lib/decompress_unzstd.c).
pub const SEGMENT_WINDOW_LOG: u32 = 26;

/// Most bytes of files on a boot partition; its FATs are made in memory, 64 MiB each at this size.
pub const FAT_BYTES: u64 = 64 << 30;

/// Longest span in which a flipped bit is searched, in bytes: 4 GiB are hashed for it at most, a few seconds.
pub const FLIP_SEARCH_BYTES: usize = 256 << 10;

/// Largest file of a boot loader's component, in bytes: GRUB's core.img with every module stays below half of it.
pub const LOADER_BYTES: usize = 1 << 20;

/// Largest disk in a container, in bytes: its tables are made in memory, 32 MiB at this size.
pub const DISK_BYTES: u64 = 256 << 30;

/// Longest reference, in bytes: host (253 + port), repository (255), tag (128) and digest fit.
pub const REFERENCE_BYTES: usize = 1024;

/// Longest repository name, in bytes: the distribution specification's advice.
pub const REPOSITORY_BYTES: usize = 255;

/// Largest root metadata, in bytes: hundreds of keys fit.
pub const ROOT_BYTES: usize = 512 << 10;

/// Largest timestamp metadata, in bytes: it names one file; the rest is room for signatures.
pub const TIMESTAMP_BYTES: usize = 32 << 10;

/// Largest snapshot metadata, in bytes: 100,000 delegated roles fit.
pub const SNAPSHOT_BYTES: usize = 16 << 20;

/// Largest targets metadata of one role, in bytes: 100,000 images with their platforms fit.
pub const TARGETS_BYTES: usize = 64 << 20;

/// Largest file that is signed as a target of its own: a node.yml, a certificate, a binary of a `files:` entry.
pub const SIGNED_FILE_BYTES: usize = 256 << 20;

/// Most root versions that are walked from a pinned one: a rotation every week for 20 years.
pub const ROOT_ROTATIONS: u64 = 1024;

/// Highest version of metadata: 2^53 - 1, the largest integer that every JSON reader keeps.
pub const METADATA_VERSION: u64 = (1 << 53) - 1;

/// Most delegated roles that one look-up visits, as python-tuf has it.
pub const DELEGATION_VISITS: usize = 32;

/// Most delegated roles of one role, and of a whole collection, in Notary's dialect, which fetches all of them: docker makes one per signer.
pub const DELEGATED_ROLES: usize = 1024;

/// Most earlier versions of one role of a Notary collection that an import reads: three years of a publication every day.
pub const HISTORY_VERSIONS: u64 = 1000;

/// Longest name of a delegated role in Notary's dialect, in bytes: the real client's bound.
pub const NOTARY_ROLE_BYTES: usize = 255;

/// Most keys beside one document's roles in Notary's dialect; the roots of a collection keep those of earlier ones.
pub const ROLE_KEYS: usize = 4096;

/// Largest certificate with its intermediate ones, in bytes of PEM: three of RSA with 4096 bits take 6 KiB.
pub const CERTIFICATE_BYTES: usize = 64 << 10;

/// Most roles of a collection that its owner goes through, bins included: the snapshot at its bound names no more.
pub const COLLECTION_ROLES: usize = 100_000;

/// Most roles that a delegated role lists where the owner goes through all: as many as there can be bins, which other tools list one by
/// one. Each is found by going through the list.
pub const LISTED_ROLES: usize = 1 << BIN_BITS;

/// Most bins of a collection that imgkit makes, as a power of two: the snapshot, part of every look-up, takes 500 KB then.
pub const BIN_BITS: u32 = 14;

/// Most snapshots that a collection's history lists: a change every ten minutes for two years.
pub const SNAPSHOTS_LISTED: u64 = 100_000;

/// Longest `custom` part that a signer gives a target, in bytes: it is read with every look-up of a name beside it.
pub const CUSTOM_BYTES: usize = 64 << 10;

/// Largest draft of unpublished metadata, in bytes: one targets file at its bound, written once more.
pub const DRAFT_BYTES: usize = 96 << 20;

/// How much later than its role's lifetime allows a draft's document may expire, in seconds: the clock of who made it may be fast.
pub const DRAFT_AHEAD: i64 = 3600;

/// Most platforms of one image: the largest official images have about a dozen.
pub const PLATFORMS: usize = 256;

/// Longest name of a role, in bytes: with its version and `.json` it is a file name.
pub const ROLE_NAME_BYTES: usize = 128;

/// Longest name of a target, in bytes: the longest reference.
pub const TARGET_NAME_BYTES: usize = REFERENCE_BYTES;

/// Largest seal with its evidence, in bytes: tree lists of 500,000 files take about 40 MiB compressed.
pub const SEAL_BYTES: usize = 128 << 20;

/// Largest DSSE envelope, in bytes: a statement over 10,000 segments stays below a tenth of it.
pub const ENVELOPE_BYTES: usize = 16 << 20;

/// Largest evidence once decompressed, in bytes.
pub const EVIDENCE_BYTES: u64 = 256 << 20;

/// Most documents in evidence: ten thousand components have five each, and some metadata. Every one costs memory, however short.
pub const EVIDENCE_DOCUMENTS: usize = 1 << 16;

/// Longest name of a document in evidence, in bytes: a root's name and a role's, escaped, or a digest.
pub const EVIDENCE_NAME_BYTES: usize = 4096;

/// Most bytes of trust metadata in evidence, which are held before a signature is checked: one role's targets and a snapshot at their
/// largest, and as much as that snapshot for the rest; 10,000 targets take 1 MiB.
pub const EVIDENCE_TRUST_BYTES: u64 = 96 << 20;

/// Most signatures on one document: thresholds above a few dozen keys are unheard of.
pub const SIGNATURES: usize = 256;

/// Most bytes of one YAML file: a node's specification with some certificates in it stays far below.
pub const YAML_BYTES: usize = 4 << 20;

/// Deepest nesting of a YAML file: LinuxKit's schema has 8 levels.
pub const YAML_DEPTH: usize = 32;

/// Most bytes that the anchors and aliases of one YAML file may copy: as much again as the largest file.
pub const YAML_EXPANSION_BYTES: usize = 4 << 20;

/// Deepest nesting of JSON: TUF's metadata reach 8, custom data of signers a few more; serde_json itself stops at 128.
pub const JSON_DEPTH: usize = 32;

/// Most arrays and objects in one JSON document: 100,000 images with five platforms each have fewer; each takes some hundreds of bytes of memory.
pub const JSON_CONTAINERS: usize = 1 << 20;

/// Largest public key, in bytes of DER: an RSA key of 8192 bits takes 1,062.
pub const PUBLIC_KEY_BYTES: usize = 4096;

/// Longest TUF key id, in bytes: imgkit's are 64, others' are opaque.
pub const KEY_ID_BYTES: usize = 128;

/// Largest private key file, in bytes: an encrypted RSA key of 8192 bits takes 6,400.
pub const KEY_FILE_BYTES: usize = 16_384;

/// Longest passphrase, in bytes.
pub const PASSPHRASE_BYTES: usize = 1024;

/// Largest backup of keys, in bytes: some hundred keys and a root with hundreds fit.
pub const KEY_BACKUP_BYTES: usize = 8 << 20;

/// Longest answer of a signer plugin, in bytes: a signature or public key takes 2,000.
pub const PLUGIN_ANSWER_BYTES: usize = 64 << 10;

/// How long a named pipe is waited for that is read as a file: somebody may have to begin writing to it.
pub const PIPE_PATIENCE: Duration = Duration::from_secs(30);

/// How long a signer plugin may take: a person may have to touch a device.
pub const PLUGIN_PATIENCE: Duration = Duration::from_secs(180);

/// How long the rest of a signer plugin's answer is waited for once the program has ended: what it wrote lies in the pipe by then,
/// and whom it started may hold the pipe open for ever.
pub const PLUGIN_REST: Duration = Duration::from_secs(1);

/// How often a signer plugin is looked after.
pub const PLUGIN_POLL: Duration = Duration::from_millis(5);

/// Most memory that opening a key may take, in bytes: scrypt with N = 2^17, r = 8, the strongest in common use, takes half. The last
/// MiB is for the results of p, beside the 256 that are mixed.
pub const SCRYPT_MEMORY: u64 = 257 << 20;

/// Most work that opening a key may take, in bytes mixed: about 5 seconds.
pub const SCRYPT_WORK: u64 = 2 << 30;

/// Most PBKDF2 iterations that opening a key may take: openssl writes 2,048, OWASP advises 600,000.
pub const PBKDF2_ITERATIONS: u64 = 10_000_000;

/// Largest index, manifest or config, in bytes: the distribution specification's advice to registries.
pub const DOCUMENT_BYTES: usize = 4 << 20;

/// Most manifests in one index: the busiest public ones list about 30, attestations included.
pub const INDEX_MANIFESTS: usize = 1024;

/// Most layers in one image: Docker stops at 127.
pub const LAYERS: usize = 1024;

/// Largest blob, in bytes: a layer of 64 GiB is beyond any node image.
pub const BLOB_BYTES: u64 = 64 << 30;

/// Largest `index.json` of a store, in bytes: 100,000 tagged images take about 30 MiB.
pub const LAYOUT_INDEX_BYTES: usize = 64 << 20;

/// Largest file of registry credentials, in bytes.
pub const CREDENTIALS_BYTES: u64 = 1 << 20;

/// How long a registry may take to accept a connection: beyond that a person would call it down.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a registry may send nothing: object stores behind registries wake up slowly.
pub const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// How often a change to a collection is made before others who publish first are called too many: 50 publishers at once are
/// through before.
pub const PUBLISH_ATTEMPTS: u32 = 100;

/// Largest file of certificates, in bytes: all that a distribution ships take 220 KiB.
pub const CA_CERTS_BYTES: usize = 4 << 20;

/// How long a web server may take from a request to the end of its answer's headers, redirections included.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// How long the spans are in which [`SLOWEST_WINDOW_BYTES`] of an answer have to arrive, or to be taken by who asked.
pub const RATE_WINDOW: Duration = Duration::from_secs(15);

/// How many bytes have to arrive in each [`RATE_WINDOW`], or the answer's end: 2 KiB a second; a modem brings three times as many.
pub const SLOWEST_WINDOW_BYTES: usize = 30 << 10;

/// How long a registry may take to send a blob that is read into memory, beside [`BLOB_RATE`]: waking up takes seconds.
pub const BLOB_TIME: Duration = Duration::from_secs(60);

/// The slowest rate at which such a blob may come, in bytes a second: a modem's.
pub const BLOB_RATE: u64 = 4096;

/// How long a tag that a publisher claimed has to stay before it counts as its own: longer than two requests in a row take
/// where the line is good; who needed longer finds out at the second look.
pub const TAG_SETTLE: Duration = Duration::from_millis(500);

/// Most states by which a collection in a registry may have gone on while one look at it was taken.
pub const STATES_AHEAD: usize = 100;

/// How often a claimed tag is looked at until it stays: whoever moves it that often is no publisher.
pub const TAG_LOOKS: usize = 20;

/// Most pages of a collection in a registry: as many as [`COLLECTION_ROLES`] roles share, many times over.
pub const PAGES: u64 = 4096;

/// Highest number of a state of a collection in a registry: one each second lasts longer than anybody counts.
pub const STATES: u64 = 1 << 53;

/// Most blobs in a file that is carried over an air gap: a collection of 100,000 names and the layers of 10,000 images fit.
pub const PARCEL_BLOBS: usize = 1_000_000;

/// How often a request to a registry is made before it counts as failed, resumed downloads included.
pub const ATTEMPTS: u32 = 6;

/// How long the first pause between two attempts is; each later one is twice as long.
pub const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// Most redirections of one request: registries send blobs on to object stores, once.
pub const REDIRECTS: usize = 5;

/// How many blobs are fetched at once: docker's default is 3.
pub const PARALLEL_BLOBS: usize = 4;

/// Largest policy or root.json that a policy pins, in bytes: ten thousand rules, or a hundred keys, stay far below.
pub const POLICY_BYTES: usize = 4 << 20;

/// Most files that one policy consists of, each of [`POLICY_BYTES`] at most; people keep a handful.
pub const POLICY_FILES: usize = 64;

/// Most files of a policy of which each includes the next.
pub const POLICY_INCLUDE_DEPTH: usize = 8;

/// Longest kernel command line, in bytes: x86's `COMMAND_LINE_SIZE` less the terminating NUL.
pub const CMDLINE_BYTES: usize = 2047;

/// Most containers in one section of a specification: their directories sort by an index of three digits.
pub const CONTAINERS: usize = 1000;

/// How many pieces by one signer a requirement rests on, and a seal keeps: more than he has reasons to sign one image.
pub const PIECES_OF_SIGNER: usize = 16;

/// Longest name of a container or profile, in bytes: containerd's limit of identifiers.
pub const CONTAINER_NAME_BYTES: usize = 76;

/// Longest member `debian-binary` of a package, in bytes: deb(5) has four, and lets lines follow.
pub const DEB_MAGIC_BYTES: u64 = 256;

/// Most bytes that a package's control archive may unpack to: maintainer scripts of the largest take some 100 KiB.
pub const DEB_CONTROL_BYTES: u64 = 16 << 20;

/// Most memory that unpacking xz may take, in bytes: what level 9 needs, the highest there is, is 65 MiB.
pub const DEB_XZ_MEMORY: u64 = 80 << 20;

/// Largest copyright file of a package that is read, in bytes: the largest in Debian (chromium's) has below 2 MiB.
pub const COPYRIGHT_BYTES: u64 = 4 << 20;

/// Largest table that depmod may write, in bytes: a distribution kernel's with 6,000 modules takes 2 MiB.
pub const MODULE_TABLE_BYTES: usize = 64 << 20;

/// Largest lock file, in bytes: ten thousand references with their digests.
pub const LOCK_BYTES: usize = 4 << 20;

/// Largest tree list, in bytes: half a million entries of a kernel's or a distribution's tree.
pub const TREE_LIST_BYTES: usize = 128 << 20;

/// Largest node specification, in bytes: inline file contents included.
pub const SPEC_BYTES: usize = 4 << 20;

/// Largest metadata or user data document for a config drive, in bytes.
pub const METADATA_BYTES: usize = 1 << 20;

/// Largest public key that a Notary server answers with, in bytes: an RSA key of 8192 bits takes 1.5 KiB in base64.
pub const SERVER_KEY_BYTES: usize = 16 << 10;

/// Most bytes that are read of a Notary server's error.
pub const SERVER_ERROR_BYTES: usize = 64 << 10;

/// Largest answer of a token server, in bytes: tokens carry certificates, and some hundred scopes.
pub const TOKEN_BYTES: usize = 256 << 10;

/// Longest name of a Notary collection, in bytes: a registry's host with its port, and the longest repository name, fit.
pub const GUN_BYTES: usize = 512;

/// Largest upload to the Notary server, in bytes: the targets of 100,000 images, and everything above them, fit.
pub const UPLOAD_BYTES: usize = 32 << 20;

/// Most files in one upload: every delegation of a large collection at once.
pub const UPLOAD_PARTS: usize = 1024;

/// Most bytes of a collection's current files on the Notary server: eight of the largest uploads.
pub const COLLECTION_BYTES: usize = 8 * UPLOAD_BYTES;

/// Most signatures in one upload: checking them takes some seconds at most, while others wait.
pub const UPLOAD_SIGNATURES: usize = 4096;

/// Most values in members of an upload that Notary's dialect does not have: each takes up to 1.3 KiB of memory, again with every later
/// upload to the collection.
pub const UPLOAD_UNKNOWN: usize = 4096;

/// How far a version of targets or a snapshot on the Notary server may be above the one before: a clock's seconds fit, and nobody
/// who signs for a role once can use up its versions, of which there are two million times as many.
pub const VERSION_STEP: u64 = 1 << 32;

/// How long a signature that the Notary server makes is in metadata at most, with its key's id: RSA of 8192 bits in base64 takes 1,368.
pub const NOTARY_SIGNATURE_BYTES: usize = 2048;

/// Most values in an upload beside the names that it signs: a thousand roles with a hundred keys each have half as many.
pub const UPLOAD_VALUES: usize = 1 << 18;

/// How many uploads the Notary server judges at once, where they are small.
pub const UPLOADS_AT_ONCE: usize = 16;

/// Most bytes of uploads that the Notary server judges at once, or one larger upload. An array or object of [`JSON_CONTAINERS`], which
/// is what an upload and all that are judged at once have at most, counts for sixteen: it takes up to 1.3 KiB of memory.
pub const UPLOADS_JUDGED_BYTES: usize = 16 * JSON_CONTAINERS;

/// Most bytes that the Notary server holds of all uploads: sixteen of the largest.
pub const UPLOADS_BYTES: usize = 16 * UPLOAD_BYTES;

/// How long an upload waits for room, and then for its turn, before it is told to come again.
pub const UPLOAD_WAIT: Duration = Duration::from_secs(10);

/// How many requests for keys, deletions and renewals of timestamps the Notary server works on at once: what is begun is done to its end,
/// also where the client has left.
pub const CHANGES_BEGUN: usize = 64;

/// How long the spans are in which [`UPLOAD_WINDOW_BYTES`] of an upload, or its end, have to come.
pub const UPLOAD_WINDOW: Duration = Duration::from_secs(10);

/// How many bytes of an upload have to come in each [`UPLOAD_WINDOW`]: 64 KiB a second; slower ones keep others' room.
pub const UPLOAD_WINDOW_BYTES: usize = 640 << 10;

/// How long an upload may take at most: the largest needs 512 seconds at the slowest.
pub const UPLOAD_TIME: Duration = Duration::from_secs(600);

/// How long an upload is that goes into the room which is kept for small ones: a thousand names, and everything above them.
pub const SMALL_UPLOAD_BYTES: usize = 1 << 20;

/// How many of [`UPLOADS_BYTES`] are kept for small uploads: 64 of the longest.
pub const SMALL_UPLOADS_BYTES: usize = UPLOADS_BYTES / 8;

/// How many connections the Notary server has open at once; further ones wait to be accepted.
pub const SERVER_CONNECTIONS: usize = 1024;

/// How long a client of the Notary server may take for a request's head or a TLS handshake, and how long a connection stays open
/// between requests: three lost packets are sent again in it.
pub const CLIENT_TIMEOUT: Duration = Duration::from_secs(15);

/// How long the Notary server finishes requests under way when it is told to stop.
pub const SHUTDOWN_GRACE: Duration = Duration::from_secs(10);

/// Most bytes of collections that the Notary server keeps in memory: about 100,000 small ones.
pub const SERVER_CACHE_BYTES: usize = 64 << 20;

/// Most bytes that are kept in memory of a collection which does not fit there as a whole.
pub const SERVER_CACHED_PART_BYTES: usize = SERVER_CACHE_BYTES / 4;

/// How many collections the Notary server reads from its store at once to answer with their current files.
pub const SERVER_READS_AT_ONCE: usize = 4;

/// Most bytes of files that are not in memory which the Notary server is sending at once: clients may take them as slowly as others.
pub const SERVER_SENDING_BYTES: usize = COLLECTION_BYTES;

/// Largest file that is not in memory and takes no part of [`SERVER_SENDING_BYTES`], in bytes: one for each of [`SERVER_CONNECTIONS`] takes
/// 64 MiB, and old roots, which clients walk through, are to be had however slow others are.
pub const SERVER_SMALL_FILE_BYTES: usize = 64 << 10;

/// From which size on a file in memory is compressed apart from other requests, in bytes: smaller ones take a millisecond.
pub const GZIP_APART_BYTES: usize = 64 << 10;

/// Most files in the logs of collections that the Notary server's directory keeps in memory, each with 200 bytes.
pub const SERVER_LOGGED_FILES: usize = 1 << 18;

/// How long a PKCS#11 library may take to say which tokens there are, to open one and to close it: USB readers take a second or two.
pub const TOKEN_LOOK_TIMEOUT: Duration = Duration::from_secs(15);

/// How long a PKCS#11 token may take to log in, to sign or to make a key: a person may have to type a PIN at the reader, or to
/// touch the token; a smart card makes a long RSA key in a minute or two.
pub const TOKEN_WORK_TIMEOUT: Duration = Duration::from_secs(180);

/// Most calls to PKCS#11 tokens that are on their way at once: one that never comes back keeps its thread.
pub const TOKEN_CALLS: usize = 256;

/// Most keys in a PKCS#11 token whose places a server remembers: a few hundred bytes each.
pub const TOKEN_KEYS_IN_MEMORY: usize = 4096;

/// From which size on files are compressed for those who take it: smaller ones are mostly hashes, and fit one packet.
pub const GZIP_FROM_BYTES: usize = 1024;

/// Most records that one answer of the changefeed has, whatever was asked for.
pub const CHANGES_AT_ONCE: usize = 10_000;

/// Largest bearer token that the Notary server reads, in bytes: with a chain of three RSA certificates it has about 8 KiB.
pub const BEARER_BYTES: usize = 32 << 10;

/// How often the Notary server plans a publication anew when other servers publish in between.
pub const SERVER_ATTEMPTS: u32 = 8;

/// Largest simple-signing payload of an image's signature, in bytes: cosign's are 300, with room for what signers add.
pub const SIGNATURE_PAYLOAD_BYTES: usize = 128 << 10;

/// Most subjects of one in-toto statement: what public attestation stores allow.
pub const STATEMENT_SUBJECTS: usize = 1024;

/// Most artifacts that refer to one image which are kept of a list, all its pages together: ten times as many as are read.
pub const REFERRERS: usize = 10_000;

/// Most bytes of a list of referrers, all its pages together: [`REFERRERS`] at 3 KiB each. Registries copy a manifest's annotations into it.
pub const REFERRER_LIST_BYTES: usize = 32 << 20;

/// Most pages of referrers that are read: busy images have some hundred signatures and attestations, on a page or two.
pub const REFERRER_PAGES: usize = 64;

/// Largest signature, attestation or bundle beside an image, in bytes: an SBOM of a distribution in base64 stays below.
pub const ATTACHED_BYTES: usize = ENVELOPE_BYTES;

/// Most bytes of what is attached to one image that are read for one question: hundreds of SBOMs.
pub const ATTACHED_TOTAL_BYTES: u64 = 256 << 20;

/// Most signatures, attestations and bundles of one image that are fetched for one question: some hundred are many.
pub const ATTACHED_LAYERS: usize = 4096;

/// Longest time that a registry may ask to wait for (Retry-After): who is told to wait longer is told so instead.
pub const RETRY_AFTER: Duration = Duration::from_secs(60);

/// Most manifests of referrers that are read for one question: as many as an image has layers at most.
pub const ATTACHED_MANIFESTS: usize = 1024;

/// Largest manifest of a referrer, in bytes: a bundle's has 1 KiB, one with a thousand layers 300, one with fifty of cosign's keyless
/// signatures 400. A byte of it can be eighty of memory while it is read, and [`PARALLEL_BLOBS`] are at once.
pub const REFERRER_BYTES: usize = 512 << 10;

/// Most bytes of referrers' manifests that are read for one question: [`ATTACHED_MANIFESTS`] at 16 KiB each, sixteen times what a bundle's has.
pub const ATTACHED_MANIFEST_BYTES: u64 = 16 << 20;

/// Most log entries in one sigstore bundle: signers write one, or one in each of two logs.
pub const LOG_ENTRIES: usize = 32;

/// Most time stamps in one sigstore bundle: one for each of a few authorities.
pub const TIMESTAMPS: usize = 32;

/// Most hashes in a proof that an entry is in a log: a log of 2^63 entries has 63.
pub const PROOF_HASHES: usize = 64;

/// Longest checkpoint of a log, in bytes: with some dozen witnesses it has 5,000.
pub const CHECKPOINT_BYTES: usize = 64 << 10;

/// Most certificates between a signer's and a trusted one, both included: Fulcio's chains have three.
pub const CHAIN_CERTIFICATES: usize = 8;

/// Largest trusted root of sigstore, in bytes: the public instance's has 10,000, with every certificate and key since 2021.
pub const TRUSTED_ROOT_BYTES: usize = 1 << 20;

/// Longest identity token, in bytes: those of build services have 2,000, and HTTP servers take headers of 8 to 64 KiB.
pub const IDENTITY_TOKEN_BYTES: usize = 64 << 10;

/// Largest answer of a certificate authority, a log or a time-stamp authority, in bytes: a certificate chain, an entry with its proof, a stamp.
pub const SIGSTORE_ANSWER_BYTES: usize = 1 << 20;

/// Most logs, and most time-stamp authorities, that one signature is sent to: instances have two or three.
pub const SIGNING_SERVICES: usize = 8;

/// Largest record of where a kept trusted root came from, in bytes: a URL, a digest, a time.
pub const INSTANCE_RECORD_BYTES: usize = 64 << 10;

/// Largest file of kept verdicts, in bytes: ten thousand images.
pub const VERDICTS_BYTES: usize = 16 << 20;

/// Longest condition over a predicate, in bytes: a screenful.
pub const CONDITION_BYTES: usize = 4096;

/// Most operators and brackets of a condition: its parser and evaluation call themselves for each, on stacks of 2 MiB.
pub const CONDITION_OPERATORS: usize = 256;

/// Largest program of an expression that a condition matches with, in KiB: it is built anew, 4 microseconds for each, whenever it is used.
pub const CONDITION_PROGRAM_KIB: usize = 64;

/// Most steps of a condition's evaluation: some seconds.
pub const CONDITION_STEPS: u64 = 20_000_000;

/// Longest expression for identities, in bytes.
pub const IDENTITY_PATTERN_BYTES: usize = 4096;

/// Longest identity that an expression is tried on, in bytes: those of workflows have 200.
pub const IDENTITY_BYTES: usize = 4096;

/// Largest file that is signed by itself, in bytes: it is held in memory, as Ed25519 takes all of it at once.
pub const SIGNED_BLOB_BYTES: usize = 1 << 30;

/// Largest signature in a file of its own, in bytes: RSA of 8192 bits in base64 takes 1,368.
pub const SIGNATURE_BYTES: usize = 16 << 10;
