// Verifies a bundle that was signed with a key, as clients of npm's registry do: node verify.js BUNDLE KEY.pem [FILE]
const fs = require('fs');
const crypto = require('crypto');
const { createRequire } = require('module');
const load = createRequire(process.cwd() + '/');
const { bundleFromJSON } = load('@sigstore/bundle');
const { Verifier, toSignedEntity, toTrustMaterial } = load('@sigstore/verify');

const [bundlePath, keyPath, filePath] = process.argv.slice(2);
const bundle = bundleFromJSON(JSON.parse(fs.readFileSync(bundlePath)));
const publicKey = crypto.createPublicKey(fs.readFileSync(keyPath));
const root = { mediaType: '', tlogs: [], certificateAuthorities: [], ctlogs: [], timestampAuthorities: [] };
const material = toTrustMaterial(root, () => ({ publicKey, validFor: () => true }));
const verifier = new Verifier(material, { tlogThreshold: 0, ctlogThreshold: 0, timestampThreshold: 0 });
const file = filePath && fs.readFileSync(filePath);
verifier.verify(toSignedEntity(bundle, file));
