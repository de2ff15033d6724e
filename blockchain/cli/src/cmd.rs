//! The verbs of the command line, one a file, and the arguments they share.
//!
//! How they end is `ending`'s table; `record` ends as the program did that it ran.
//!
//! In one file because the arguments of all verbs, what they have in common, and how one is picked are read
//! together.

mod append;
mod archive;
mod audit;
mod cat;
mod chain;
mod check_proof;
mod completions;
mod config;
mod diff;
mod doctor;
mod elsewhere;
mod find;
mod follow;
mod forget;
mod gc;
mod hold;
mod init;
mod keep;
mod keys;
mod long;
mod ls;
mod migrate;
mod mirror;
mod optimise;
mod play;
mod prove;
mod query;
mod record;
mod reindex;
mod release;
mod restore;
mod retain;
mod retention;
mod rm;
mod scrub;
mod seal;
mod serve;
mod show;
mod sink;
mod span;
mod stats;
mod token;
mod tree;
mod up;
mod verify;
mod watch;

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use clap::builder::Resettable;
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{Args, ColorChoice, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use lucid_api::address::Address;
use lucid_api::client::{Heard, KIB_PER_SECOND_MAX, KIB_PER_SECOND_MIN, Pace};
use lucid_api::tls::Pin;
use lucid_api::v1::sessions::Session;
use lucid_core::session::SessionId;
use lucid_core::time::Timestamp;
use lucid_data_chain::config::{SERVICE, given};
use lucid_http::config::{back_ends, process_environment, unknown_variables};
use lucid_http::program::VERSION;
use lucid_store::backend::Given;
use lucid_store::clock::{Clock, Moment};
use lucid_store::files::folder::keys::{OpensWith, opens_with};
use lucid_store::files::folder::{Expected, Noted, Passphrase};

pub use self::completions::answer as answer_shell;
pub use self::record::become_program;
use crate::ending::{DONE, FAILED, LEFT_OUT, WrongUse};
use crate::interrupt;
use crate::output::{Output, OutputMode};
use crate::place::reading::{self, Reading};
use crate::place::{Place, WriteSessions, beside, local, remote};
use crate::profile;
use crate::progress::ProgressMode;
use crate::showing::client_options;

/// Keeps recorded sessions so that anyone can later prove what was recorded, that it is whole, and
/// when it existed.
#[derive(Debug, Parser)]
#[command(name = "lucid", version = VERSION, propagate_version = true)]
pub struct Arguments {
    #[command(flatten)]
    home: Home,
    /// Print results as JSON.
    #[arg(long, global = true, help_heading = SAYING)]
    json: bool,
    /// Print only results and errors.
    #[arg(long, short, global = true, help_heading = SAYING)]
    quiet: bool,
    /// Name each thing that is done or passed over, and say what servers are asked.
    #[arg(long, short, global = true, help_heading = SAYING)]
    verbose: bool,
    /// How progress is told: a bar on a terminal and else a line every ten seconds, or an object a line on standard
    /// error for programs.
    #[arg(long, global = true, value_enum, default_value = "auto", value_name = "HOW", help_heading = SAYING)]
    progress: ProgressMode,
    /// Use no colours, as with the variable `NO_COLOR`.
    #[arg(long, global = true, help_heading = SAYING)]
    no_color: bool,
    #[command(subcommand)]
    verb: Verb,
}

/// What options of every verb stand under in its help, behind its own.
const SAYING: &str = "How it is said";

/// Where sessions are kept.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Where sessions are kept")]
pub struct Home {
    /// The folder that holds the store; made when something is first archived.
    #[arg(
        long,
        global = true,
        env = "LUCID_DATA",
        default_value = "./lucid-data",
        value_name = "DIR"
    )]
    pub data: PathBuf,
    /// Work against this data-chain instead of a folder.
    #[arg(
        long,
        global = true,
        env = "LUCID_DATA_CHAIN_URL",
        hide_env_values = true,
        value_name = "URL"
    )]
    pub server: Option<Address>,
    /// A place that ~/.config/lucid/config.toml has under this name: a folder or a server, and what opens it.
    #[arg(long, global = true, env = "LUCID_PROFILE", value_name = "NAME")]
    pub profile: Option<String>,
    /// A file with the token that is shown to the server and to a block-manager; else `LUCID_TOKEN`, else the
    /// line of that server in ~/.config/lucid/credentials.
    #[arg(long, global = true, env = "LUCID_TOKEN_FILE", value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// A file with authorities, in PEM, that servers are believed by besides those of the system.
    #[arg(long, global = true, env = "LUCID_CA_FILE", value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// The key of the server, as it says when it starts: it is believed by that alone.
    #[arg(long, global = true, env = "LUCID_PIN", value_name = "SHA256")]
    pub pin: Option<Pin>,
    /// How fast content is sent to servers, in KiB a second.
    #[arg(long, global = true, value_name = "KIB", value_parser = kib_per_second())]
    pub limit_upload: Option<u32>,
    /// How fast content is fetched from servers, in KiB a second.
    #[arg(long, global = true, value_name = "KIB", value_parser = kib_per_second())]
    pub limit_download: Option<u32>,
    /// The root key, if it is not kept in the data folder.
    #[arg(long, global = true, env = "LUCID_MASTER_KEY_FILE", value_name = "FILE")]
    pub key_file: Option<PathBuf>,
    /// A file with the passphrase, if the keys are wrapped under one; on a terminal it is asked for.
    #[arg(long, global = true, env = "LUCID_PASSPHRASE_FILE", value_name = "FILE")]
    pub passphrase_file: Option<PathBuf>,
    /// Where the blocks of the chain are, if not in its folder; it is kept in mind.
    #[arg(long, global = true, env = "BLOCK_STORAGE_PATH", value_name = "DIR")]
    pub blocks: Option<PathBuf>,
    /// How many bytes of a disk stay free, so that something can still be removed; else a part of the disk.
    #[arg(long, global = true, env = "LUCID_RESERVE_BYTES", value_name = "BYTES")]
    pub reserve: Option<u64>,
    /// Write nothing to the folder, not even where it could be written to: only for verbs that read.
    #[arg(long, global = true)]
    pub read_only: bool,
    /// The store that the profile says is there.
    #[arg(skip)]
    pub expected: Option<Expected>,
    /// When the verb opens folders without writing to them; a verb that writes never does.
    #[arg(skip)]
    pub reading: Option<Reading>,
    /// Whether the verb reads by the door of a process that has the folder, where there is one.
    #[arg(skip)]
    pub beside: bool,
    /// The passphrase as it was typed.
    #[arg(skip)]
    pub typed: Option<Passphrase>,
    /// What is told of each request to a server.
    #[arg(skip)]
    pub heard: Heard,
    /// What of the store is elsewhere, as the variables say.
    #[arg(skip)]
    pub given: Given,
}

fn kib_per_second() -> clap::builder::RangedI64ValueParser<u32> {
    let range = i64::from(KIB_PER_SECOND_MIN)..=i64::from(KIB_PER_SECOND_MAX);
    clap::value_parser!(u32).range(range)
}

impl Home {
    /// How fast servers are spoken to.
    pub fn pace(&self) -> Pace {
        Pace { upload: self.limit_upload, download: self.limit_download }
    }

    /// The passphrase, if one was given.
    pub fn passphrase(&self) -> Option<Passphrase> {
        self.passphrase_file.clone().map(Passphrase::File).or_else(|| self.typed.clone())
    }

    /// Of the key and the passphrase that were given, those that a folder takes. The two folders of a store
    /// may open in different ways; one that is to be made takes what there is.
    pub fn given_to(&self, folder: &Path) -> (Option<PathBuf>, Option<Passphrase>) {
        match opens_with(folder) {
            None => (self.key_file.clone(), self.passphrase()),
            Some(OpensWith::Key) => (self.key_file.clone(), None),
            Some(OpensWith::Passphrase) => (None, self.passphrase()),
            Some(OpensWith::Nothing) => (None, None),
        }
    }

    /// Refuses a key or a passphrase that no folder takes: a user who gives one believes that it matters.
    fn check_given(&self, is_new_passphrase: bool) -> anyhow::Result<()> {
        let folders = [self.data.clone(), local::data_folder(self), local::chain_folder(self)];
        let ways: Vec<OpensWith> = folders.iter().filter_map(|folder| opens_with(folder)).collect();
        let takes = |way| ways.is_empty() || ways.contains(&way);
        anyhow::ensure!(
            self.key_file.is_none() || takes(OpensWith::Key),
            "--key-file (LUCID_MASTER_KEY_FILE) names a key, and the store in {} {}: leave it out",
            self.data.display(),
            match ways.contains(&OpensWith::Passphrase) {
                true => "opens with a passphrase",
                false => "was made without encryption",
            }
        );
        anyhow::ensure!(
            self.passphrase_file.is_none() || is_new_passphrase || takes(OpensWith::Passphrase),
            "--passphrase-file (LUCID_PASSPHRASE_FILE) names a passphrase, and the store in {} {}",
            self.data.display(),
            match ways.contains(&OpensWith::Key) {
                true => {
                    "does not open with one: leave it out, or wrap the keys under it with `lucid keys \
                     rewrap --passphrase`"
                }
                false => "was made without encryption: leave it out",
            }
        );
        Ok(())
    }

    /// Refuses a server of another store than the profile names; a folder of another is not even opened. Credentials
    /// that may not ask which it is are not kept from it.
    pub fn check_store(&self, place: &dyn Place) -> anyhow::Result<()> {
        let Some(Expected { id, said_by }) = &self.expected else { return Ok(()) };
        match place.store()?.filter(|found| *found != id.to_string()) {
            None => Ok(()),
            Some(found) => anyhow::bail!(
                "the server has store {found}, and {said_by} says that store {id} is there: correct one of the two"
            ),
        }
    }

    /// This home with the passphrase that a folder wants and that was not given yet, if the user can be asked.
    pub(crate) fn with_passphrase(&self, output: &Output) -> anyhow::Result<Self> {
        let folders = [self.data.clone(), local::data_folder(self), local::chain_folder(self)];
        let wanted = self.server.is_none()
            && self.passphrase().is_none()
            && folders.iter().any(|folder| opens_with(folder) == Some(OpensWith::Passphrase));
        let mut home = self.clone();
        if wanted && output.can_ask() {
            home.typed = Some(Passphrase::Text(output.ask_secret("passphrase: ")?));
        }
        Ok(home)
    }
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Keep folders, files, or with `-` what comes in, as a sealed and anchored session.
    Archive(Box<archive::Archive>),
    /// Keep a live stream, going on where it was broken off.
    Append(append::Append),
    /// Run a program, and keep what it writes, and how it ends.
    Record(record::Record),
    /// End a session that was left open.
    Seal(seal::Seal),
    /// Watch a folder, and keep what is recorded in it while it grows.
    Watch(watch::Watch),
    /// Take recordings from a Unix socket, a session for each connection.
    Sink(sink::Sink),
    /// Keep the same sessions in a second store.
    Mirror(mirror::Mirror),
    /// List and change the keys of a folder.
    Keys(keys::Keys),
    /// Say what was asked of a service, by whom, and how it ended.
    Audit(audit::Audit),
    /// Make, list and revoke tokens, by which services know their callers.
    Token(token::TokenVerb),
    /// Show the settings of the services, and print their manual.
    Config(config::Config),
    /// Have a shell complete verbs, options, profiles and sessions.
    ///
    /// Prints what bash, zsh or fish reads at its start. Sessions are those of the place that the line names, the
    /// newest 200 that begin as the word does.
    Completions(completions::Completions),
    /// List sessions, or the files of one.
    Ls(ls::Ls),
    /// Draw the files of a session as a tree.
    Tree(tree::Tree),
    /// Say in what two sessions differ.
    Diff(diff::Diff),
    /// Look for files in all archived folders.
    Find(find::Find),
    /// Say what sessions take, and what removing them would free.
    Stats(stats::Stats),
    /// Print documents of blocks, transactions or sessions.
    Query(query::Query),
    /// Show everything about a session.
    Show(show::Show),
    /// Print the bytes of a file, or of a whole raw session.
    Cat(cat::Cat),
    /// Print what comes to a recording, as it comes, until it is sealed.
    Follow(follow::Follow),
    /// Show a recording of a terminal, at its own pace.
    Play(play::Play),
    /// Put files back into a folder, or out as a tar stream.
    Restore(restore::Restore),
    /// Show sessions as files that a file manager mounts, to be read.
    Serve(serve::Serve),
    /// Read everything again and say what is wrong.
    Verify(verify::Verify),
    /// Write a proof that needs neither this store nor a server.
    Prove(prove::Prove),
    /// Check such a proof.
    CheckProof(check_proof::CheckProof),
    /// Remove sessions, each leaving a signed tombstone.
    Rm(rm::Rm),
    /// Remove sessions that a policy does not keep.
    ///
    /// What `restic forget` does, by the options of the same names: its snapshots are sessions here, and --prune runs
    /// `lucid gc`. Sessions that are known by their ids are removed by `lucid rm`. All times are those of the blocks
    /// with the anchors, and days are those of UTC: spans go back from a block that is made now, and no recorder's
    /// clock counts. What is not anchored, held, or kept until a time stays. On a terminal it shows what would go, and
    /// asks.
    Forget(Box<forget::Forget>),
    /// Forbid to remove a session.
    Hold(hold::Hold),
    /// Allow to remove a session again.
    Release(release::Release),
    /// Keep a session until a time.
    Retain(retain::Retain),
    /// List which sessions may be removed from when on.
    Retention(retention::Retention),
    /// Give back the room of what nobody refers to.
    Gc(gc::Gc),
    /// Pack what is stored more tightly.
    Optimise(optimise::Optimise),
    /// Read stored bytes again and say what is damaged.
    Scrub(scrub::Scrub),
    /// Build the index anew from the log and the segments.
    Reindex(reindex::Reindex),
    /// Move the store into a database and a bucket, or back into its folder.
    ///
    /// Where it goes to, or comes from, is what MONGO_URL and the LUCID_S3_ variables say, as the services have them.
    /// Facts, chunks and blocks move as they are, under the same keys, and everything is read from both sides and
    /// compared; then the folder's label says where the store is. Stop the services first. A move that is interrupted
    /// is run again, and goes on.
    Migrate(migrate::Migrate),
    /// Look at the chain of blocks, judge it, take blocks in and give them out.
    Chain(chain::Chain),
    /// Look at everything that has to be looked after, and say what is wrong.
    Doctor(doctor::Doctor),
    /// Make what a first start needs, and say what to keep safe.
    Init(init::Init),
    /// Run data-chain and block-manager.
    ///
    /// Data-chain listens on port 8087 (DATA_CHAIN_PORT, DATA_CHAIN_HOST), block-manager on 8086
    /// (BLOCK_MANAGER_PORT, BLOCK_MANAGER_HOST), both for this machine alone. Everything else comes from the
    /// environment, too: LOG_LEVEL, LOG_FORMAT, BLOCK_INTERVAL_SECONDS, DATA_CHAIN_KEEP_DAYS and what
    /// `lucid config manual` lists. On a terminal it says where both are and what goes wrong; otherwise it logs.
    Up(up::Up),
}

impl Verb {
    /// Whether it works on a place at all.
    fn has_place(&self) -> bool {
        !matches!(self, Self::CheckProof(_) | Self::Config(_) | Self::Completions(_))
    }

    /// Whether it writes nothing to the folders of `--data`, even if it writes elsewhere.
    fn only_reads(&self) -> bool {
        match self {
            Self::Ls(_)
            | Self::Tree(_)
            | Self::Diff(_)
            | Self::Stats(_)
            | Self::Audit(_)
            | Self::Find(_)
            | Self::Query(_)
            | Self::Show(_)
            | Self::Retention(_)
            | Self::Cat(_)
            | Self::Follow(_)
            | Self::Play(_)
            | Self::Restore(_)
            | Self::Serve(_)
            | Self::Verify(_)
            | Self::Prove(_)
            | Self::CheckProof(_)
            | Self::Config(_)
            | Self::Completions(_)
            | Self::Mirror(_) => true,
            Self::Archive(verb) => verb.only_reads(),
            Self::Doctor(verb) => verb.only_reads(),
            Self::Forget(verb) => verb.only_reads(),
            Self::Keys(verb) => verb.only_reads(),
            Self::Token(verb) => verb.only_reads(),
            Self::Scrub(verb) => verb.only_reads(),
            Self::Chain(verb) => verb.only_reads(),
            Self::Append(_)
            | Self::Record(_)
            | Self::Seal(_)
            | Self::Watch(_)
            | Self::Sink(_)
            | Self::Rm(_)
            | Self::Hold(_)
            | Self::Release(_)
            | Self::Retain(_)
            | Self::Gc(_)
            | Self::Optimise(_)
            | Self::Reindex(_)
            | Self::Migrate(_)
            | Self::Init(_)
            | Self::Up(_) => false,
        }
    }
}

impl Verb {
    /// Whether it only reads sessions, and so goes by the door of a process that has their folder. The rest of what
    /// only reads wants no sessions, or the folder itself.
    fn reads_beside(&self) -> bool {
        let wants_the_folder = matches!(
            self,
            Self::Mirror(_)
                | Self::Archive(_)
                | Self::Doctor(_)
                | Self::Forget(_)
                | Self::Keys(_)
                | Self::Token(_)
                | Self::Scrub(_)
                | Self::Chain(_)
        );
        self.only_reads() && self.has_place() && !wants_the_folder
    }
}

impl Verb {
    /// What is true whenever the verb is interrupted, and how to go on. Of those that listen for
    /// themselves nothing is said.
    fn promise(&self) -> Option<&'static str> {
        Some(match self {
            Self::Archive(verb) if verb.only_reads() => {
                "nothing was changed; run the same command again"
            }
            Self::Archive(_) => {
                "what was stored is kept and found again, a session that was not sealed is not there yet; run \
                 the same command again (with --session ID under the same id)"
            }
            Self::Append(_) => {
                "what was acknowledged is kept, and the session is open; run the same command again, with \
                 --from-start if standard input begins at the beginning again"
            }
            Self::Watch(_) => "what was sent is kept; run the same command again, and it goes on",
            Self::Restore(_) => {
                "files that are there are whole; run the same command again, and it goes on with the others"
            }
            Self::Mirror(_) => {
                "what was copied is kept; run the same command again, and it goes on"
            }
            Self::Seal(_) | Self::Rm(_) | Self::Hold(_) | Self::Release(_) | Self::Retain(_) => {
                "each session is as it was or as it was to be; `lucid show SESSION` says which, and the same \
                 command can be run again"
            }
            Self::Forget(_) => {
                "each session is as it was or as it was to be; run the same command again, and it goes on"
            }
            Self::Doctor(_) => {
                "nothing but an accepted clock is changed; run the same command again"
            }
            Self::Init(_) => {
                "what was made is kept; run the same command again, and it makes the rest"
            }
            Self::Token(_) => "the list of tokens is as it was or as it was to be",
            Self::Keys(_) => {
                "the old keys or the new ones open the store; `lucid keys list` says which"
            }
            Self::Gc(_) | Self::Optimise(_) | Self::Reindex(_) => {
                "nothing that is kept is lost; run the same command again"
            }
            Self::Migrate(_) => {
                "the store is where it was, and whole; run the same command again, and it goes on"
            }
            Self::Scrub(_) => "nothing was changed; run the same command again, and it goes on",
            Self::Chain(_) => "blocks that were taken are kept whole; run the same command again",
            Self::Ls(_)
            | Self::Tree(_)
            | Self::Diff(_)
            | Self::Stats(_)
            | Self::Audit(_)
            | Self::Find(_)
            | Self::Query(_)
            | Self::Show(_)
            | Self::Retention(_)
            | Self::Cat(_)
            | Self::Follow(_)
            | Self::Play(_)
            | Self::Verify(_)
            | Self::Prove(_)
            | Self::Config(_)
            | Self::Completions(_)
            | Self::CheckProof(_) => "nothing was changed; run the same command again",
            Self::Record(_) | Self::Sink(_) | Self::Serve(_) | Self::Up(_) => return None,
        })
    }
}

impl Arguments {
    /// Reads the command line. A key that is named there for what opens no folder is refused; one that
    /// the environment names is of the machine, and counts where it is needed.
    pub fn read() -> Result<Self, clap::Error> {
        let colours = match own_words().any(|word| word == "--no-color") {
            true => ColorChoice::Never,
            false => ColorChoice::Auto,
        };
        let command = without_empty_variables(without_idle(Self::command())).color(colours);
        let matches = command.try_get_matches().map_err(elsewhere::point)?;
        let mut arguments = Self::from_arg_matches(&matches)?;
        if arguments.verb.has_place() {
            let is_server = matches!(arguments.verb, Verb::Up(_));
            let settled =
                profile::settle(&mut arguments.home, &matches, &process_environment(), is_server);
            settled.map_err(|sentence| {
                Self::command().error(ErrorKind::ArgumentConflict, format!("{sentence}\n"))
            })?;
        }
        let is_named = |name| matches.value_source(name) == Some(ValueSource::CommandLine);
        let names_server =
            is_named("server") || (is_named("profile") && arguments.home.server.is_some());
        if matches!(arguments.verb, Verb::Up(_)) && names_server {
            let named = if is_named("server") { "--server" } else { "--profile" };
            let sentence = format!("{named} names a server, and `up` is one: leave it out\n");
            return Err(Self::command().error(ErrorKind::ArgumentConflict, sentence));
        }
        if let (Verb::Query(verb), Some(given)) =
            (&arguments.verb, matches.subcommand_matches("query"))
            && !verb.verifies()
        {
            for option in ["manager", "genesis", "producer"] {
                if given.value_source(option) == Some(ValueSource::CommandLine) {
                    let sentence = format!(
                        "--{option} says what documents are held against, and nothing is without --verify: add \
                         that, or leave it out\n"
                    );
                    return Err(Self::command().error(ErrorKind::ArgumentConflict, sentence));
                }
            }
        }
        let Some(why) = arguments.without_folder() else { return Ok(arguments) };
        for (name, option) in [("key_file", "--key-file"), ("passphrase_file", "--passphrase-file")]
        {
            if is_named(name) {
                let sentence = format!("{option} opens a data folder, and {why}: leave it out\n");
                return Err(Self::command().error(ErrorKind::ArgumentConflict, sentence));
            }
        }
        Ok(arguments)
    }

    /// Why no data folder is opened, if so.
    fn without_folder(&self) -> Option<&'static str> {
        match &self.verb {
            Verb::CheckProof(_) => Some("a proof is checked without one"),
            Verb::Config(_) => Some("settings are shown without one"),
            Verb::Completions(_) => Some("a shell is told of verbs without one"),
            Verb::Chain(verb) if verb.needs_no_folder() => Some("this is done without one"),
            Verb::Keys(verb) if verb.brings_its_key() => {
                Some("what opens it is in the file that is named")
            }
            // These say that they need one.
            Verb::Up(_) | Verb::Keys(_) | Verb::Reindex(_) | Verb::Migrate(_) | Verb::Chain(_) => {
                None
            }
            Verb::Doctor(verb) if !verb.only_reads() => None,
            Verb::Token(_) => Some("a list of tokens is not encrypted"),
            _ => self.home.server.as_ref().map(|_| "the server has its own"),
        }
    }

    /// Whether the verb gives a verdict, so that 1 says "wrong" and nothing else.
    pub fn gives_verdict(&self) -> bool {
        match &self.verb {
            Verb::CheckProof(_) | Verb::Verify(_) | Verb::Scrub(_) | Verb::Diff(_) => true,
            Verb::Chain(verb) => verb.gives_verdict(),
            Verb::Doctor(verb) => verb.only_reads(),
            Verb::Audit(verb) => verb.gives_verdict(),
            Verb::Keys(verb) => verb.gives_verdict(),
            _ => false,
        }
    }

    /// How the user wants to be spoken to.
    pub fn mode(&self) -> OutputMode {
        OutputMode {
            json: self.json,
            quiet: self.quiet,
            verbose: self.verbose,
            progress: self.progress,
            plain: self.no_color,
            silent: false,
        }
    }
}

/// The words of the command line, before they are understood. What follows `--` is another program's.
pub fn own_words() -> impl Iterator<Item = OsString> {
    std::env::args_os().skip(1).take_while(|word| word != "--")
}

/// Runs the verb; the code says how it went.
pub fn run(arguments: &Arguments, output: &Output) -> anyhow::Result<u8> {
    if let Some(what_is_safe) = arguments.verb.promise() {
        interrupt::promise(output.mode(), what_is_safe);
    }
    // The services say it of themselves, and know more.
    if !matches!(arguments.verb, Verb::Up(_) | Verb::Config(_)) {
        for why in unknown_variables(&process_environment(), &["LUCID_", "BLOCK_"]) {
            output.warn(&why);
        }
    }
    // A proof is checked without any store, so nothing is asked for it.
    if let Verb::CheckProof(verb) = &arguments.verb {
        return verb.run(output);
    }
    if let Verb::Config(verb) = &arguments.verb {
        return verb.run(output);
    }
    if let Verb::Completions(verb) = &arguments.verb {
        return verb.run(output);
    }
    let home = match &arguments.verb {
        Verb::Up(verb) => verb.complete(&arguments.home)?,
        _ => arguments.home.clone(),
    };
    if arguments.without_folder().is_none() {
        let new = matches!(&arguments.verb, Verb::Keys(verb) if verb.takes_new_passphrase());
        home.check_given(new)?;
    }
    fits(
        !arguments.home.read_only || arguments.home.server.is_none(),
        "--read-only is for a folder, and --server (LUCID_DATA_CHAIN_URL) names a server: leave one out",
    )?;
    let asks_manager = matches!(&arguments.verb, Verb::Chain(verb) if verb.asks_a_manager());
    fits(
        !arguments.home.read_only || !asks_manager,
        "--read-only is for a folder, and --manager (LUCID_BLOCK_MANAGER_URL) names a block-manager: leave \
         one out",
    )?;
    // The services read what they are told themselves.
    let opens_folders = !matches!(arguments.verb, Verb::Up(_) | Verb::Token(_));
    let reading = match (arguments.verb.only_reads(), arguments.home.read_only) {
        (true, true) => Some(Reading::Always),
        (true, false) => Some(Reading::WhereUnwritable),
        (false, false) => None,
        (false, true) => {
            let sentence = "this verb writes, and --read-only forbids that: leave it out";
            return Err(WrongUse(sentence.to_owned()).into());
        }
    };
    let brings_its_key = matches!(&arguments.verb, Verb::Keys(verb) if verb.brings_its_key());
    // With `--read-only` it is the folder itself that is looked at.
    let beside = arguments.verb.reads_beside() && !home.read_only && home.server.is_none();
    let home = match brings_its_key || beside {
        // It is asked for where the folder proves to be opened here.
        true => home,
        false => home.with_passphrase(output)?,
    };
    let heard = match output.mode().verbose {
        true => {
            let output = output.clone();
            Heard::by(move |asked| output.remark(asked))
        }
        false => Heard::NOTHING,
    };
    let given = match opens_folders && home.server.is_none() {
        true => given_elsewhere()?,
        false => Given::default(),
    };
    let home = &Home { reading, beside, heard, given, ..home };
    match &arguments.verb {
        Verb::Archive(verb) => verb.run(home, output),
        Verb::Append(verb) => verb.run(home, output),
        Verb::Record(verb) => verb.run(home, output),
        Verb::Seal(verb) => verb.run(home, output),
        Verb::Watch(verb) => verb.run(home, output),
        Verb::Sink(verb) => verb.run(home, output),
        Verb::Mirror(verb) => verb.run(home, output),
        Verb::Keys(verb) => verb.run(home, output),
        Verb::Token(verb) => verb.run(home, output),
        Verb::Ls(verb) => verb.run(home, output),
        Verb::Audit(verb) => verb.run(home, output),
        Verb::Tree(verb) => verb.run(home, output),
        Verb::Diff(verb) => verb.run(home, output),
        Verb::Find(verb) => verb.run(home, output),
        Verb::Stats(verb) => verb.run(home, output),
        Verb::Query(verb) => verb.run(home, output),
        Verb::Show(verb) => verb.run(home, output),
        Verb::Cat(verb) => verb.run(home, output),
        Verb::Follow(verb) => verb.run(home, output),
        Verb::Play(verb) => verb.run(home, output),
        Verb::Restore(verb) => verb.run(home, output),
        Verb::Serve(verb) => verb.run(home, output),
        Verb::Verify(verb) => verb.run(home, output),
        Verb::Prove(verb) => verb.run(home, output),
        Verb::CheckProof(verb) => verb.run(output),
        Verb::Config(verb) => verb.run(output),
        Verb::Completions(verb) => verb.run(output),
        Verb::Rm(verb) => verb.run(home, output),
        Verb::Forget(verb) => verb.run(home, output),
        Verb::Hold(verb) => verb.run(home, output),
        Verb::Release(verb) => verb.run(home, output),
        Verb::Retain(verb) => verb.run(home, output),
        Verb::Retention(verb) => verb.run(home, output),
        Verb::Gc(verb) => verb.run(home, output),
        Verb::Optimise(verb) => verb.run(home, output),
        Verb::Scrub(verb) => verb.run(home, output),
        Verb::Reindex(verb) => verb.run(home, output),
        Verb::Migrate(verb) => verb.run(home, output),
        Verb::Chain(verb) => verb.run(home, output),
        Verb::Doctor(verb) => verb.run(home, output),
        Verb::Init(verb) => verb.run(home, output),
        Verb::Up(verb) => verb.run(home, output),
    }
}

/// What of a store is elsewhere, as the variables of the services say it.
fn given_elsewhere() -> Result<Given, WrongUse> {
    let found = back_ends(SERVICE, &process_environment()).map_err(|error| {
        let said: Vec<_> = error.mistakes.iter().map(ToString::to_string).collect();
        WrongUse(said.join("; ").replace("ERROR: ", ""))
    })?;
    Ok(given(&found, &Clock::system()))
}

/// Leaves out of a verb's help the options of every verb that do nothing there.
fn without_idle(mut command: clap::Command) -> clap::Command {
    let all = [
        "data",
        "server",
        "profile",
        "limit_upload",
        "limit_download",
        "key_file",
        "passphrase_file",
        "blocks",
        "reserve",
        "read_only",
        "verbose",
    ];
    let of_servers = ["server", "limit_upload", "limit_download", "read_only", "verbose"];
    for (verb, idle) in [
        ("up", &of_servers[..]),
        ("init", &["server", "limit_upload", "limit_download", "read_only", "blocks", "verbose"]),
        ("check-proof", &all),
        ("config", &all),
        ("completions", &all),
    ] {
        let is_idle = |argument: &&clap::Arg| idle.contains(&argument.get_id().as_str());
        let hidden: Vec<_> = command.get_arguments().filter(is_idle).cloned().collect();
        let hidden = hidden.into_iter().map(|argument| argument.hide(true));
        command = command.mut_subcommand(verb, |verb| verb.args(hidden));
    }
    command
}

/// An empty variable says nothing, as for the services.
fn without_empty_variables(command: clap::Command) -> clap::Command {
    #[expect(
        clippy::disallowed_methods,
        reason = "the argument parser reads them; this is a part of it"
    )]
    let is_empty = |name: &OsStr| std::env::var_os(name).is_some_and(|value| value.is_empty());
    let unset = |argument: clap::Arg| match argument.get_env().is_some_and(is_empty) {
        true => argument.env(Resettable::Reset),
        false => argument,
    };
    command.mut_args(unset).mut_subcommands(without_empty_variables)
}

/// Refuses arguments that contradict each other.
fn fits(they_do: bool, sentence: &str) -> Result<(), WrongUse> {
    if they_do { Ok(()) } else { Err(WrongUse(sentence.to_owned())) }
}

/// What time it is: the one place where the command line asks.
pub(crate) fn now() -> Timestamp {
    Clock::system().now()
}

/// What tells the time to what is opened here.
pub(crate) fn clock() -> Clock {
    Clock::system()
}

/// What time it is, and how much has passed regardless of how the clock is set, for what is timed by it again
/// and again.
pub(crate) fn moment() -> Moment {
    Clock::system().moment()
}

/// Opens the place that holds the sessions. Damage that is found is said before anything else, so that an
/// answer does not look whole if it may not be.
fn open(home: &Home, verb: &str, output: &Output) -> anyhow::Result<Box<dyn Place>> {
    let place: Box<dyn Place> = match &home.server {
        Some(url) => Box::new(remote::Remote::connect(url, client_options(home, url)?)?),
        None if home.beside => beside::open(home, verb, output)?,
        None => Box::new(local::Local::open(home, verb, &clock())?),
    };
    opened(home, place, output)
}

/// Checks a place that was opened, and says what is to be said of it before anything else.
fn opened(home: &Home, place: Box<dyn Place>, output: &Output) -> anyhow::Result<Box<dyn Place>> {
    home.check_store(place.as_ref())?;
    reading::say(output, place.only_read());
    say_loss(place.as_ref(), "", output);
    Ok(place)
}

/// Has a place note that something was done with all of it. That it cannot changes nothing of what was done.
fn note<P: Place + ?Sized>(place: &P, what: Noted, is_sound: bool, about: &str, output: &Output) {
    if let Err(error) = place.note(what, is_sound, about) {
        output.warn(&format!("it is not noted for `lucid doctor` that this was done: {error:#}"));
    }
}

/// Says what damage was come upon, and whether something may be missing; `of` is put in front.
fn say_loss<P: Place + ?Sized>(place: &P, of: &str, output: &Output) {
    for damage in place.damage() {
        output.warn(&format!("{of}{damage}"));
    }
    if let Some(why) = place.loss() {
        output.warn(&format!("{of}what is here may not be all there was: {why}"));
    }
}

/// The code of a verb that sealed a session and was to have it anchored. That it is not in a block yet is
/// said; so are other sessions whose anchors were refused on the way.
fn anchored(place: &dyn WriteSessions, session: &Session, output: &Output) -> u8 {
    for why in place.undelivered() {
        output.warn(&why);
    }
    if is_anchored(session) {
        return DONE;
    }
    output.warn(&format!(
        "session {} is sealed, but not anchored yet: {}",
        session.session_id,
        why_not_anchored(session)
    ));
    FAILED
}

/// What is said where nobody said why.
const UNCONFIRMED: &str = "the block-manager did not confirm it";

/// Why a session that is sealed is in no block, as its anchor tells.
fn why_not_anchored(session: &Session) -> String {
    let why = session.anchor.as_ref().and_then(|anchor| anchor.reason.clone());
    why.unwrap_or_else(|| UNCONFIRMED.to_owned())
}

fn is_anchored(session: &Session) -> bool {
    session.anchor.as_ref().is_some_and(|anchor| anchor.block_index.is_some())
}

/// Ends a verb that only read. Where something may be missing, no answer counts as whole.
fn finish(place: Box<dyn Place>, code: u8) -> anyhow::Result<u8> {
    let lossy = place.loss().is_some();
    place.close()?;
    Ok(if lossy { FAILED } else { code })
}

/// Reads a session's id as given.
fn session_id(text: &str) -> Result<SessionId, lucid_core::session::SessionFault> {
    text.parse()
}
