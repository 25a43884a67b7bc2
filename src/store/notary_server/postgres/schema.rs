//! The tables, made and brought up to date by the server itself.

use tokio_postgres::Client;

/// Each step runs once; what is released is never changed, but followed by another step.
const STEPS: &[&str] = &["
    CREATE TABLE imgkit_notary_collections (
        gun text PRIMARY KEY,
        revision bigint NOT NULL
    );
    CREATE TABLE imgkit_notary_files (
        gun text NOT NULL REFERENCES imgkit_notary_collections,
        role text NOT NULL,
        version bigint NOT NULL,
        sha256 bytea NOT NULL,
        data bytea NOT NULL,
        at bigint NOT NULL,
        PRIMARY KEY (gun, role, version)
    );
    CREATE INDEX imgkit_notary_files_by_hash ON imgkit_notary_files (gun, role, sha256);
    CREATE INDEX imgkit_notary_timestamps ON imgkit_notary_files (gun, at) WHERE role = 'timestamp';
    -- Metadata are hashes and signatures, which compress badly: kept as they are, they are read faster.
    ALTER TABLE imgkit_notary_files ALTER COLUMN data SET STORAGE EXTERNAL;
    CREATE TABLE imgkit_notary_keys (
        gun text NOT NULL,
        role text NOT NULL,
        id text NOT NULL,
        sealed bytea NOT NULL,
        used boolean NOT NULL,
        PRIMARY KEY (gun, role, id)
    );
    CREATE UNIQUE INDEX imgkit_notary_pending_keys ON imgkit_notary_keys (gun, role) WHERE NOT used;
    CREATE TABLE imgkit_notary_changes (
        id bigint PRIMARY KEY,
        at bigint NOT NULL,
        gun text NOT NULL,
        version bigint NOT NULL,
        sha256 bytea
    );
    CREATE INDEX imgkit_notary_changes_by_gun ON imgkit_notary_changes (gun, id);
    CREATE TABLE imgkit_notary_vault (
        one boolean PRIMARY KEY CHECK (one),
        pem text NOT NULL
    );
"];

/// Held while the tables change, by all servers of one database: a number of imgkit's own.
const LOCK: i64 = 0x696d_676b_6974;

/// Brings the tables up to date; returns the version that is there when it is newer than this program.
pub(super) async fn migrate(client: &mut Client) -> Result<Option<i64>, tokio_postgres::Error> {
    let transaction = client.transaction().await?;
    transaction
        .execute("SELECT pg_advisory_xact_lock($1)", &[&LOCK])
        .await?;
    let make = "CREATE TABLE IF NOT EXISTS imgkit_notary_schema (one boolean PRIMARY KEY CHECK (one), version bigint NOT NULL);
                INSERT INTO imgkit_notary_schema VALUES (true, 0) ON CONFLICT DO NOTHING;";
    transaction.batch_execute(make).await?;
    let row = transaction
        .query_one("SELECT version FROM imgkit_notary_schema", &[])
        .await?;
    let there: i64 = row.try_get(0)?;
    let done = usize::try_from(there).unwrap_or(usize::MAX);
    if done > STEPS.len() {
        return Ok(Some(there));
    }
    for step in STEPS.iter().skip(done) {
        transaction.batch_execute(step).await?;
    }
    let version = STEPS.len() as i64;
    transaction
        .execute("UPDATE imgkit_notary_schema SET version = $1", &[&version])
        .await?;
    transaction.commit().await?;
    Ok(None)
}
