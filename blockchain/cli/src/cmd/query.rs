//! `lucid query KIND [NAME=VALUE...]`: documents of blocks, transactions or sessions that a filter takes.
//!
//! Exit codes: 0 done; 1 with `--verify` something was found that the chain does not bear out, and not printed.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::sync::Arc;

use anyhow::Context as _;
use lucid_api::address::Address;
use lucid_api::client::BlockManagerClient;
use lucid_core::digest::BlockHash;
use lucid_core::sign::{Producers, PublicKey};
use lucid_data_chain::chain::Chain;
use lucid_data_chain::chain::http::HttpChain;
use lucid_data_chain::document::{DocumentKind, Facets, Source};
use lucid_data_chain::integrations::RemoteManager;
use lucid_data_chain::ops::documents::export_documents::{ExportForm, ExportRows};
use lucid_data_chain::ops::documents::filter::Filter;
use lucid_data_chain::ops::documents::get_document::FoundDocument;
use lucid_data_chain::ops::documents::sync_documents::ChainPins;
use lucid_data_chain::ops::documents::verify_documents::CheckedChain;

use super::keep::key_value;
use super::{DONE, FAILED, Home, finish, fits, now, open};
use crate::output::{Output, OutputStream};
use crate::place::AskedDocuments;
use crate::progress::ProgressLine;
use crate::showing::client_options;
use crate::text;
use crate::when;

/// Arguments of `lucid query`.
#[derive(Debug, clap::Args)]
pub struct Query {
    /// Documents about what.
    #[arg(value_enum)]
    kind: About,
    /// What has to be so, all of it. Of blocks: index_from, index_to, hash; of transactions: type, session_id; of
    /// sessions: status, user_id, active_at, host, tag, path, metadata.NAME; of all: timestamp_from, timestamp_to.
    #[arg(value_name = "NAME=VALUE", value_parser = key_value)]
    filter: Vec<(String, String)>,
    /// Print so many at most.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// The oldest first.
    #[arg(long)]
    oldest_first: bool,
    /// Print a table of comma-separated values, with a heading.
    #[arg(long, conflicts_with = "json")]
    csv: bool,
    /// Hold each document against the records of the chain, and print only those that are in it as they are here.
    #[arg(long)]
    verify: bool,
    /// The block-manager whose chain that is, instead of the folder's.
    #[arg(long, env = "LUCID_BLOCK_MANAGER_URL", hide_env_values = true, value_name = "URL")]
    manager: Option<Address>,
    /// The hash of block 0, from a source you trust: documents are held against no other chain.
    #[arg(long, env = "LUCID_CHAIN_GENESIS", value_name = "HASH")]
    genesis: Option<BlockHash>,
    /// The key in base64 that signs the blocks.
    #[arg(long, env = "LUCID_CHAIN_PRODUCER_KEY", value_name = "KEY", value_delimiter = ',')]
    producer: Vec<PublicKey>,
}

/// What documents are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum About {
    Blocks,
    Transactions,
    Sessions,
}

impl Query {
    /// Whether documents are held against a chain.
    pub fn verifies(&self) -> bool {
        self.verify
    }

    /// Prints documents, each as soon as it is there.
    pub fn run(&self, home: &Home, output: &Output) -> anyhow::Result<u8> {
        let kind = match self.kind {
            About::Blocks => DocumentKind::Block,
            About::Transactions => DocumentKind::Transaction,
            About::Sessions => DocumentKind::Session,
        };
        fits(
            !self.verify || kind != DocumentKind::Session,
            "a chain has no sessions to hold them against: leave --verify out, or check each with `lucid \
             verify SESSION`",
        )?;
        let (mut filter, mut said) = (Filter::default(), BTreeSet::new());
        for (name, value) in &self.filter {
            fits(
                said.insert(name) || Filter::takes_several(kind, name),
                &format!("{name} is said twice: leave one out"),
            )?;
            filter.set_parameter(kind, name, value)?;
        }
        let asked = AskedDocuments {
            kind,
            words: self.filter.clone(),
            filter,
            descending: !self.oldest_first,
            most: self.limit.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX)),
        };
        let place = open(home, "query", output)?;
        let beside = match kind {
            DocumentKind::Session => None,
            DocumentKind::Block | DocumentKind::Transaction => place.chain()?,
        };
        let mut printed = Printed::new(output, kind, self.csv)?;
        let code = match self.verify {
            false => {
                place.documents(&asked, beside.as_deref(), &mut |found| printed.print(&found))?;
                DONE
            }
            true => {
                let asks_manager =
                    self.manager.as_ref().map(|url| manager(home, url)).transpose()?;
                let chain: &dyn Chain = match (&asks_manager, &beside) {
                    (Some(manager), _) => manager,
                    (None, Some(beside)) => beside.as_ref(),
                    (None, None) => anyhow::bail!(
                        "there is no chain here to hold documents against: name a block-manager with \
                         --manager (LUCID_BLOCK_MANAGER_URL)"
                    ),
                };
                let mut check = self.read_chain(chain, output)?;
                let (mut sound, mut refused) = (0, 0_u64);
                place.documents(&asked, beside.as_deref(), &mut |found| match check
                    .check(&found, now())?
                {
                    Ok(found) => {
                        sound += 1;
                        printed.print(&found)
                    }
                    Err(why) => {
                        refused += 1;
                        let (kind, id) = (kind.as_str(), text::line(&found.id));
                        output.warn(&format!("{kind} {id} is left out: {why}"));
                        Ok(())
                    }
                })?;
                output.note(&outcome(&check, sound));
                if refused == 0 { DONE } else { FAILED }
            }
        };
        printed.end()?;
        if let Some(beside) = beside {
            beside.close()?;
        }
        finish(place, code)
    }

    fn read_chain<'a>(
        &self,
        chain: &'a dyn Chain,
        output: &Output,
    ) -> anyhow::Result<CheckedChain<'a>> {
        let pins = ChainPins { genesis: self.genesis, producer: Producers::of(&self.producer)? };
        let progress = ProgressLine::counting(output, "reading the chain's records", "blocks");
        let read = |done, total| progress.set_count(done, total);
        CheckedChain::read(chain, &pins, now(), &read)
            .with_context(|| format!("{} cannot be held against", chain.name()))
    }
}

/// What a check found, and what it cannot find.
fn outcome(check: &CheckedChain<'_>, sound: u64) -> String {
    let documents = text::many(sound, "document");
    let is_as = if sound == 1 { "is" } else { "are" };
    let blocks = text::many(check.blocks(), "block");
    let chain = match check.genesis() {
        Some(genesis) => format!("the chain of {blocks} that begins with {genesis}"),
        None => "a chain without blocks".to_owned(),
    };
    format!("{documents} {is_as} in {chain}; that there are no others is not proved")
}

fn manager(home: &Home, url: &Address) -> anyhow::Result<HttpChain> {
    let client = BlockManagerClient::new(url.expose(), client_options(home, url)?);
    let client = client.with_context(|| format!("{url:?} names no block-manager"))?;
    Ok(HttpChain::new(Arc::new(RemoteManager::over(client, url.clone()))))
}

/// Documents on their way to standard output.
enum Printed<'a> {
    /// As they are, or as a table, for programs.
    Rows(ExportRows, std::io::BufWriter<OutputStream>),
    /// The same on a terminal, which nothing that others wrote may steer.
    ShownRows(ExportRows, &'a Output),
    /// For people, a line each.
    Lines(&'a Output),
}

impl<'a> Printed<'a> {
    fn new(output: &'a Output, kind: DocumentKind, csv: bool) -> anyhow::Result<Self> {
        let form = match (csv, output.mode().json) {
            (true, _) => ExportForm::Table,
            (false, true) => ExportForm::Lines,
            (false, false) => return Ok(Self::Lines(output)),
        };
        let mut rows = ExportRows::new(form);
        rows.heading(kind)?;
        Ok(match output.is_terminal() {
            true => Self::ShownRows(rows, output),
            false => Self::Rows(rows, output.stream()),
        })
    }

    fn print(&mut self, found: &FoundDocument) -> anyhow::Result<()> {
        match self {
            Self::Lines(output) => output.lines(&line(found).into())?,
            Self::Rows(rows, stream) => {
                rows.row(found)?;
                stream.write_all(&rows.take()?)?;
            }
            Self::ShownRows(rows, output) => {
                rows.row(found)?;
                show(rows, output)?;
            }
        }
        Ok(())
    }

    fn end(self) -> anyhow::Result<()> {
        match self {
            Self::Rows(mut rows, mut stream) => {
                stream.write_all(&rows.take()?)?;
                stream.flush()?;
            }
            Self::ShownRows(mut rows, output) => show(&mut rows, output)?,
            Self::Lines(_) => {}
        }
        Ok(())
    }
}

/// Shows rows on a terminal, each as one line.
fn show(rows: &mut ExportRows, output: &Output) -> anyhow::Result<()> {
    let text = rows.take()?;
    let text = String::from_utf8_lossy(&text);
    for line in text.split_terminator('\n') {
        output.lines(&line.trim_end_matches('\r').into())?;
    }
    Ok(())
}

/// A document in a line.
fn line(found: &FoundDocument) -> String {
    let at = when::shown(&found.at.to_string());
    // A server spells out that there is none.
    let or_dash = |text: &Option<String>| {
        text.clone().filter(|text| !text.is_empty()).unwrap_or_else(|| "-".to_owned())
    };
    let block = found.block_index.map_or_else(|| "-".to_owned(), |index| format!("block {index}"));
    let line = match &found.facets {
        Facets::Block { index, hash, transactions, .. } => {
            format!("{at} block {index} {hash} {}", text::many(*transactions, "transaction"))
        }
        Facets::Transaction { tx_type, session_id } => {
            let (kind, session) = (or_dash(tx_type), or_dash(session_id));
            format!("{at} {block} {kind} {} {session}", found.id)
        }
        Facets::Session { status, user_id, .. } => {
            format!("{at} {block} {} {} {}", or_dash(status), found.id, or_dash(user_id))
        }
    };
    match found.source {
        Source::Submitted => format!("{line} (submitted)"),
        Source::Synchronised | Source::Kept => line,
    }
}
