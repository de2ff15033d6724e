//! Measures a data-chain, and the judging of chains, from below and from outside; `bench/README.md` says what for.
//!
//! Prints one JSON object for each measurement. Nothing here asserts: figures are read, not passed.
#![expect(clippy::print_stdout, reason = "a measuring program prints what it measured")]

mod chain;
mod chain_scale;
mod collect;
mod documents;
mod http;
mod link;
mod objects;
mod parts;
mod scale;

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use lucid_api::tls::Pin;

#[derive(Parser)]
#[command(version, about)]
struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Reading, cutting, hashing, compressing, encrypting and writing, each alone on one core.
    Parts {
        /// Files to read, up to `--bytes` of them in all.
        folder: PathBuf,
        /// A folder on the disk to be written.
        #[arg(long, default_value = "bench/out")]
        scratch: PathBuf,
        #[arg(long, default_value_t = 256 << 20)]
        bytes: usize,
    },
    /// Chunks into a running service, durably, and out of it again.
    Http {
        /// Host and port, like 127.0.0.1:8087.
        address: String,
        #[command(flatten)]
        load: LoadOf,
        /// Chunks of each request that brings some.
        #[arg(long, default_value_t = 1)]
        each: u64,
        /// Reads nothing again.
        #[arg(long)]
        put_only: bool,
        /// What to show it, if it asks for credentials.
        #[arg(long, env = "LUCID_TOKEN", hide_env_values = true)]
        token: Option<String>,
        /// Its key, if it speaks TLS, as it says when it starts.
        #[arg(long)]
        pin: Option<Pin>,
    },
    /// Objects into a bucket and out of it again, with no store in between.
    Objects {
        #[command(flatten)]
        bucket: objects::Bucket,
        #[command(flatten)]
        load: LoadOf,
        /// Puts nothing: how many objects there are below the prefix, and how many bytes they have.
        #[arg(long)]
        count: bool,
    },
    /// A store of so many small chunks: making it, opening it, reading from it.
    Scale {
        /// Where the store is made.
        scratch: PathBuf,
        #[arg(long, default_value_t = 100_000)]
        chunks: u64,
        /// Bytes of a chunk.
        #[arg(long, default_value_t = 64)]
        bytes: usize,
    },
    /// Opens the store that `scale` made, in a process of its own, and reads from it.
    ScaleRead {
        scratch: PathBuf,
        #[arg(long)]
        chunks: u64,
        #[arg(long, default_value_t = 64)]
        bytes: usize,
    },
    /// A link that takes its time, for whatever talks over it: says where it listens, and goes on.
    Link {
        /// Where it leads: host and port.
        to: String,
        /// How long each direction takes.
        #[arg(long, default_value_t = 10)]
        milliseconds: u64,
    },
    /// Reading a file of blocks and hashing what is in it, each part alone on one core.
    Chain {
        /// Blocks in JSON, one a line.
        file: PathBuf,
    },
    /// Verifying the signatures of a file's transactions, and nothing else.
    ChainSignatures {
        /// Blocks in JSON, one a line.
        file: PathBuf,
    },
    /// Makes a file of blocks whose transactions are signed.
    ChainSigned {
        file: PathBuf,
        #[arg(long, default_value_t = 100)]
        blocks: u64,
        #[arg(long, default_value_t = 500)]
        transactions: u64,
        #[arg(long, default_value_t = 50)]
        keys: u8,
    },
    /// A chain of so many small blocks: making it.
    ChainScale {
        /// The block-manager's folder, which is made.
        scratch: PathBuf,
        #[arg(long, default_value_t = 100_000)]
        blocks: u64,
        #[arg(long, default_value_t = 5)]
        transactions: u64,
        /// Leaves the producer's signature out.
        #[arg(long)]
        unsigned: bool,
    },
    /// Opens the chain that `chain-scale` made, in a process of its own, reads from it, and judges its
    /// records.
    ChainScaleRead { scratch: PathBuf },
    /// Transactions into a running block-manager, durably, while it is asked how far its chain is.
    Submit {
        /// Host and port, like 127.0.0.1:8086.
        address: String,
        #[arg(long, default_value_t = 64)]
        clients: usize,
        #[arg(long, default_value_t = 10)]
        seconds: u64,
    },
    /// So many documents, beside SQLite: taking them in and querying them, at each power of ten.
    Documents {
        scratch: PathBuf,
        #[arg(long, default_value_t = 100_000)]
        least: u64,
        #[arg(long, default_value_t = 10_000_000)]
        most: u64,
        /// Without SQLite beside.
        #[arg(long)]
        alone: bool,
    },
    /// Opens the store that `documents` made, in a process of its own, and queries it.
    DocumentsAsk {
        scratch: PathBuf,
        #[arg(long, default_value_t = 10_000_000)]
        most: u64,
    },
    /// Taking chunks in, alone and while a collection runs.
    Collect {
        scratch: PathBuf,
        /// Bytes of garbage to be collected.
        #[arg(long, default_value_t = 2 << 30)]
        garbage: u64,
    },
}

/// How much is asked for.
#[derive(clap::Args)]
struct LoadOf {
    #[arg(long, default_value_t = 16)]
    clients: usize,
    /// Bytes of each item.
    #[arg(long, default_value_t = 1 << 20)]
    bytes: usize,
    #[arg(long, default_value_t = 10)]
    seconds: u64,
}

fn main() -> anyhow::Result<()> {
    let found = match Arguments::parse().what {
        What::Parts { folder, scratch, bytes } => parts::measure(&folder, &scratch, bytes)?,
        What::Http { address, load, each, put_only, token, pin } => {
            http::measure(&http::Callee { address, token, pin }, &load, each, put_only)?
        }
        What::Objects { bucket, count: true, .. } => objects::count(&bucket)?,
        What::Objects { bucket, load: LoadOf { clients, bytes, seconds }, .. } => {
            objects::measure(&bucket, clients, bytes, seconds)?
        }
        What::Scale { scratch, chunks, bytes } => scale::make(&scratch, chunks, bytes)?,
        What::ScaleRead { scratch, chunks, bytes } => scale::read(&scratch, chunks, bytes)?,
        What::Link { to, milliseconds } => {
            return link::serve(&to, std::time::Duration::from_millis(milliseconds));
        }
        What::Chain { file } => chain::measure(&file)?,
        What::ChainSignatures { file } => chain::signatures(&file)?,
        What::ChainSigned { file, blocks, transactions, keys } => {
            chain::make_signed(&file, blocks, transactions, keys)?
        }
        What::ChainScale { scratch, blocks, transactions, unsigned } => {
            chain_scale::make(&scratch, blocks, transactions, !unsigned)?
        }
        What::ChainScaleRead { scratch } => chain_scale::read(&scratch)?,
        What::Documents { scratch, least, most, alone } => {
            documents::measure(&scratch, least, most, alone)?
        }
        What::DocumentsAsk { scratch, most } => documents::ask(&scratch, most)?,
        What::Submit { address, clients, seconds } => {
            chain_scale::submit(&address, clients, seconds)?
        }
        What::Collect { scratch, garbage } => collect::measure(&scratch, garbage)?,
    };
    println!("{found}");
    Ok(())
}
