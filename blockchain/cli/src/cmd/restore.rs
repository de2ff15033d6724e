//! `lucid restore SESSION [PATH…]`: files back into a folder, or out as a tar stream.

mod report;

use std::ops::Range;
use std::path::{Path, PathBuf};

use lucid_core::check::Trust;
use lucid_core::session::{Layout, SessionId};
use lucid_data_chain::source::SessionSource;

use self::report::Restored;
use super::keep::key_value;
use super::ls::given_path;
use super::span::Between;
use super::{DONE, FAILED, Home, finish, fits, open};
use crate::folder::draft::write_whole;
use crate::folder::target::{Became, Identity, Options, Target};
use crate::folder::walk;
use crate::group::{GROUP, sessions_with};
use crate::output::Output;
use crate::place::Place;
use crate::progress::ProgressLine;
use crate::restore::choice::{Choice, Filter, Hits};
use crate::restore::proof::{self, trust};
use crate::restore::raw::{raw_entry, refuse_paths_of_raw, restore_raw};
use crate::restore::several::{Destinations, recorded_at};
use crate::restore::{Planned, RestoreOutcome, Wishes, restore, tar};
use crate::text;
use crate::which::{self, Narrow, Wanted};

/// Arguments of `lucid restore`.
#[derive(Debug, clap::Args)]
pub struct Restore {
    /// The session: its id, a beginning of it that no other has (4 characters at least), or `latest`; `=ID` is that id
    /// alone.
    #[arg(required_unless_present_any = ["said", "group"])]
    session: Option<Wanted>,
    /// Files and folders in it, or patterns of them as `lucid find` reads them; without any, everything is restored.
    paths: Vec<PathBuf>,
    /// The folder to restore into; nothing outside of it is touched.
    #[arg(long, short, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Write a tar stream to a file, or with `-` to standard output.
    #[arg(long, value_name = "FILE", conflicts_with = "output")]
    tar: Option<PathBuf>,
    /// Every session of which this is said, each in a folder or file of its own; may be given several times.
    #[arg(
        long = "where",
        value_name = "KEY=VALUE",
        value_parser = key_value,
        conflicts_with_all = ["session", "paths", "tar", "from", "to"]
    )]
    said: Vec<(String, String)>,
    /// Every session of this group: the same as --where group=NAME.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["session", "paths", "tar", "from", "to"])]
    group: Option<String>,
    /// Give recordings the paths at which they were made, below the folder, and not the names of their sessions.
    #[arg(long, conflicts_with = "tar")]
    original_paths: bool,
    #[command(flatten)]
    narrow: Narrow,
    /// Only sessions of this path; may be given several times. With --host, --tag and --user it says of which sessions
    /// `latest` is one.
    #[arg(long = "path", value_name = "PATH")]
    source_paths: Vec<PathBuf>,
    #[command(flatten)]
    filter: Filter,
    /// Replace files that are there, and give folders that are there the modes and times they had.
    #[arg(long, conflicts_with = "tar")]
    overwrite: bool,
    /// Take files that are there for the same if their lengths and times are, without reading them.
    #[arg(long, conflicts_with = "tar")]
    trust_times: bool,
    /// Remove from restored folders what the session does not have; what a pattern leaves out stays.
    #[arg(long, conflicts_with_all = ["tar", "said", "group", "from", "to"])]
    delete: bool,
    /// Say what would be done, and do nothing.
    #[arg(long, conflicts_with = "tar")]
    dry_run: bool,
    /// Give files to the numbers they had, not to whom their names belong here; counts for root alone.
    #[arg(long)]
    numeric_owner: bool,
    /// Leave holes wherever a file has zeros, not only where it had holes.
    #[arg(long, conflicts_with = "tar")]
    sparse: bool,
    /// Wait until everything is on the disk.
    #[arg(long)]
    sync: bool,
    /// A key in base64 or a block's hash in hex by which the session has to be proved; may be given several times.
    /// Without it, the keys count that the store names.
    #[arg(long, value_name = "KEY|BLOCK_HASH", value_parser = trust, conflicts_with = "tar")]
    trust: Vec<Trust>,
    #[command(flatten)]
    between: Between,
}

impl Restore {
    /// Restores.
    pub fn run(&self, home: &Home, output: &Output) -> anyhow::Result<u8> {
        fits(
            self.output.is_some() || self.tar.is_some(),
            "nothing is named to restore into: name a folder with --output DIR, or a file with --tar FILE",
        )?;
        let place = open(home, "restore", output)?;
        let chosen = self
            .session
            .as_ref()
            .map(|wanted| which::choose(place.as_ref(), wanted, &self.narrow, &self.source_paths));
        let code = match (&chosen.transpose()?, &self.output, &self.tar) {
            (Some(id), None, Some(file)) => {
                let source = place.source(id)?;
                self.restore_tar(place.as_ref(), source.as_ref(), file, output)?
            }
            (Some(id), Some(folder), _) => self.restore_one(place.as_ref(), id, folder, output)?,
            (None, Some(folder), _) => self.restore_several(place.as_ref(), folder, output)?,
            (_, None, _) => DONE,
        };
        finish(place, code)
    }

    /// The choice that was made of a session, all of whose patterns hit something.
    fn choice(&self, source: &dyn SessionSource) -> anyhow::Result<Choice> {
        let named = self.paths.iter().map(|path| given_path(Some(path))).collect();
        let choice = self.filter.chosen_by(source, named)?;
        let mut hits = Hits::of(&choice);
        hits.look(source)?;
        hits.refuse_missing(&format!("session {}", source.shape().id))?;
        Ok(choice)
    }

    fn part(
        &self,
        place: &dyn Place,
        source: &dyn SessionSource,
        output: &Output,
    ) -> anyhow::Result<Range<u64>> {
        let part = self.between.bytes_in(place, source, output)?;
        Ok(part.unwrap_or(0..source.shape().content_bytes))
    }

    fn restore_tar(
        &self,
        place: &dyn Place,
        source: &dyn SessionSource,
        file: &Path,
        output: &Output,
    ) -> anyhow::Result<u8> {
        let (choice, part) = (self.choice(source)?, self.part(place, source, output)?);
        if file.as_os_str() == "-" {
            return Ok(said(tar::write(source, &choice, part, &mut output.stream())?, output));
        }
        let is_there = file.is_file();
        let left_out = write_whole(file, self.sync, |out| {
            let left_out = tar::write(source, &choice, part, out)?;
            if let Some(first) = left_out.first().filter(|_| is_there) {
                let many = text::count(left_out.len() as u64);
                anyhow::bail!(
                    "{first} ({many} in all), so \"{}\" stays as it was: name a file that is not there yet to \
                     take what can be read",
                    file.display()
                );
            }
            Ok(left_out)
        })?;
        Ok(said(left_out, output))
    }

    fn restore_one(
        &self,
        place: &dyn Place,
        id: &SessionId,
        folder: &Path,
        output: &Output,
    ) -> anyhow::Result<u8> {
        let mut restored = Restored::begin(self.dry_run);
        let source = self.open(place, id, &mut restored)?;
        let choice = self.choice(source.as_ref())?;
        self.refuse_danger(source.as_ref(), &choice, folder)?;
        let part = self.part(place, source.as_ref(), output)?;
        let name = match self.original_paths {
            true => recorded_at(&place.session(id)?).map(|path| path.as_bytes().to_vec()),
            false => None,
        };
        let places = Placing { folder, name, part, not: own_folders(place) };
        self.restore_into(source.as_ref(), &choice, places, &mut restored, output)?;
        restored.tell(output, !self.trust.is_empty())
    }

    fn restore_several(
        &self,
        place: &dyn Place,
        folder: &Path,
        output: &Output,
    ) -> anyhow::Result<u8> {
        let group = self.group.iter().map(|name| (GROUP.to_owned(), name.clone()));
        let said = self.said.iter().cloned().chain(group).collect();
        let sessions = sessions_with(place, &said)?;
        let ids: Vec<SessionId> =
            sessions.iter().map(|session| session.session_id.parse()).collect::<Result<_, _>>()?;
        let choice = self.filter.choice();
        let mut hits = Hits::of(&choice);
        for id in &ids {
            hits.look(place.source(id)?.as_ref())?;
        }
        hits.refuse_missing("these sessions")?;
        let mut restored = Restored::begin(self.dry_run);
        let mut destinations = Destinations::new(self.original_paths);
        for (session, id) in sessions.iter().zip(&ids) {
            let done = destinations.of(session).map_err(anyhow::Error::msg).and_then(|name| {
                let source = self.open(place, id, &mut restored)?;
                let part = 0..source.shape().content_bytes;
                let below = folder.join(id.as_str());
                let (folder, name) = match source.shape().layout {
                    Layout::Tree => (below.as_path(), None),
                    Layout::Raw => (folder, Some(name.0)),
                };
                let places = Placing { folder, name, part, not: Vec::new() };
                let choice = match source.shape().layout {
                    Layout::Tree => choice.clone(),
                    Layout::Raw => Choice::default(),
                };
                self.restore_into(source.as_ref(), &choice, places, &mut restored, output)
            });
            if let Err(error) = done {
                let why = crate::output::sentence(error.as_ref());
                restored.failed.push(format!("session {id} was not restored: {why}"));
            }
        }
        restored.tell(output, !self.trust.is_empty())
    }

    /// Opens a session to be restored. What is only looked at is not proved.
    fn open<'a>(
        &self,
        place: &'a dyn Place,
        id: &SessionId,
        restored: &mut Restored,
    ) -> anyhow::Result<Box<dyn SessionSource + 'a>> {
        if self.dry_run {
            return place.source(id);
        }
        let (source, proved) = proof::open(place, id, &self.trust)?;
        restored.proved_in(id, proved);
        Ok(source)
    }

    /// Refuses to remove what was hardly meant.
    fn refuse_danger(
        &self,
        source: &dyn SessionSource,
        choice: &Choice,
        folder: &Path,
    ) -> anyhow::Result<()> {
        refuse_paths_of_raw(source, choice)?;
        if !self.delete {
            return Ok(());
        }
        fits(
            source.shape().layout == Layout::Tree,
            "--delete removes what an archived folder does not have, and this session is a recording: leave it \
             out",
        )?;
        let is_root = folder.canonicalize().is_ok_and(|folder| folder.parent().is_none());
        fits(
            !is_root || !choice.is_everything(),
            "--delete into / would remove everything that the session does not have: name the folders that are \
             meant",
        )?;
        if folder.exists() {
            walk::refuse_store(folder)?;
        }
        Ok(())
    }

    fn restore_into(
        &self,
        source: &dyn SessionSource,
        choice: &Choice,
        Placing { folder, name, part, not }: Placing<'_>,
        restored: &mut Restored,
        output: &Output,
    ) -> anyhow::Result<()> {
        let options = Options {
            overwrite: self.overwrite,
            sync: self.sync,
            numeric_owner: self.numeric_owner,
            sparse: self.sparse,
            trust_times: self.trust_times,
            dry_run: self.dry_run,
        };
        let target = Target::create(folder, options)?;
        if output.mode().verbose && !self.dry_run {
            let output = output.clone();
            target.tell_each(Box::new(move |path, became| tell(path, became, &output)));
        }
        let total = Some(part.end - part.start).filter(|_| choice.is_everything());
        let progress = ProgressLine::start(output, "restoring", total);
        let outcome = if source.shape().layout == Layout::Raw {
            let entry = raw_entry(source, &part);
            let entry = match name {
                Some(path) => lucid_core::catalogue::Entry { path, ..entry },
                None => entry,
            };
            let foreseen = restore_raw(source, &target, &entry, self.dry_run, &progress)?;
            let planned = Planned { foreseen, kind: entry.kind, length: entry.length };
            let plan = self.dry_run.then_some((entry.path, planned)).into_iter().collect();
            RestoreOutcome { plan, ..RestoreOutcome::of(target.finish()) }
        } else {
            let wishes = Wishes { dry_run: self.dry_run, delete: self.delete.then_some(not) };
            restore(source, target, choice.chosen(), &wishes, &progress)?
        };
        drop(progress);
        restored.take(outcome, output)
    }
}

/// Where a session goes, and how much of it.
struct Placing<'a> {
    folder: &'a Path,
    /// What a recording is called there, if not by its session.
    name: Option<Vec<u8>>,
    part: Range<u64>,
    /// Folders that are never removed.
    not: Vec<Identity>,
}

fn own_folders(place: &dyn Place) -> Vec<Identity> {
    use std::os::unix::fs::MetadataExt as _;
    let own = place.own_folder().and_then(|folder| std::fs::metadata(folder).ok());
    own.map(|seen| (seen.dev(), seen.ino())).into_iter().collect()
}

/// Names an entry that is in its place; the folder that all are in has no name of its own.
fn tell(path: &[u8], became: Became, output: &Output) {
    let what = match became {
        Became::Restored => "restored",
        Became::Identical => "identical",
    };
    if !path.is_empty() {
        output.detail(&format!("{what} \"{}\"", text::name(path)));
    }
}

/// Names what was left out of a tar, and says how that ends.
fn said(left_out: Vec<String>, output: &Output) -> u8 {
    for line in &left_out {
        output.warn(line);
    }
    if left_out.is_empty() { DONE } else { FAILED }
}
