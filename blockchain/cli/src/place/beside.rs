//! Reading beside the process that has a folder: by the folder's local door, where it has one.
//!
//! A folder has one owner at a time. A service lets others read by its local door, and so do the commands that have a
//! folder for long. A verb that only reads goes there without being told, and to the folder itself where nobody has it.
//!
//! Owners come and go while a verb runs. Three things hold:
//! - A socket at which nobody listens is left of a process that was killed, and counts for nothing.
//! - Between the look at the door and the opening of the folder either may change, and an owner that starts or ends has
//!   the folder for a moment without a door. So both are looked at in turn, for a while, before it is said who has it.
//! - An owner that ends while a verb reads is succeeded by that verb: it opens the folder itself, opens the same door,
//!   and goes on by it. So what was begun by the door never has to be begun anew.

use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use lucid_api::address::Address;
use lucid_api::client::{ClientOptions, LOCAL_SOCKET, Revival};
use lucid_http::serve::LOCAL_SOCKET as SOCKET;
use lucid_store::StoreError;
use lucid_store::files::folder::RUN;
use parking_lot::Mutex;

use super::Place;
use super::local::{Local, data_folder};
use super::remote::Remote;
use crate::cmd::{Home, clock};
use crate::output::Output;

/// So long an owner without a door is waited for: it may be starting, ending, or a verb that is done in a moment.
const WAIT: Duration = Duration::from_secs(5);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(20);

/// Where the sessions of a folder are read.
pub(crate) enum Found {
    /// By the door of the process that has it.
    Door(Address),
    /// Here: nobody else has it.
    Folder(Box<Local>),
}

/// The door of the process that has the folder, if there is one, and it lets this user in.
pub(crate) fn door(home: &Home) -> Option<Address> {
    let socket = data_folder(home).join(RUN).join(SOCKET);
    UnixStream::connect(&socket).ok()?;
    Some(Address::from(format!("{LOCAL_SOCKET}{}", socket.display())))
}

/// Looks where the folder is to be read, and opens it if that is here. A verb that does not read beside others has it
/// here or not at all.
pub(crate) fn find(home: &Home, verb: &str, output: &Output) -> anyhow::Result<Found> {
    let until = Instant::now() + WAIT;
    let mut asked: Option<Home> = None;
    if !home.beside {
        return Ok(Found::Folder(Box::new(Local::open(home, verb, &clock())?)));
    }
    loop {
        if let Some(door) = door(home) {
            return Ok(Found::Door(door));
        }
        let home = match &mut asked {
            Some(home) => home,
            none => none.insert(home.with_passphrase(output)?),
        };
        match Local::open(home, verb, &clock()) {
            Err(error) if is_in_use(&error) && Instant::now() < until => std::thread::sleep(LOOK),
            opened => return Ok(Found::Folder(Box::new(opened?))),
        }
    }
}

fn is_in_use(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(StoreError::InUse { .. }))
}

/// Opens the folder for a verb that only reads.
pub(crate) fn open(home: &Home, verb: &str, output: &Output) -> anyhow::Result<Box<dyn Place>> {
    let door = match find(home, verb, output)? {
        Found::Folder(local) => return Ok(local),
        Found::Door(door) => door,
    };
    let succession = Arc::new(Succession {
        home: home.clone(),
        verb: verb.to_owned(),
        output: output.clone(),
        own: Mutex::new(None),
    });
    let heir = succession.clone();
    let revival = Revival::by(move || heir.go_on());
    let options = ClientOptions { revival, ..ClientOptions::default() };
    Ok(Box::new(Remote::connect(&door, options)?.succeeding(succession)))
}

/// Goes on where an owner ended by whose door this verb reads.
pub(super) struct Succession {
    home: Home,
    verb: String,
    output: Output,
    /// The folder, once this verb has it.
    own: Mutex<Option<Box<Local>>>,
}

impl Succession {
    /// Whether the door is served again: by the owner after the one that ended, or else by this verb itself.
    fn go_on(&self) -> bool {
        let mut own = self.own.lock();
        if own.is_some() {
            return true;
        }
        let opened = find(&self.home, &self.verb, &self.output).and_then(|found| match found {
            Found::Door(_) => Ok(None),
            Found::Folder(mut local) => {
                local.open_door().context("the folder cannot be read on")?;
                Ok(Some(local))
            }
        });
        match opened {
            Ok(opened) => {
                *own = opened;
                true
            }
            Err(error) => {
                self.output.warn(&format!("the process that had the folder ended: {error:#}"));
                false
            }
        }
    }

    /// Gives the folder back, if this verb has it.
    pub(super) fn end(&self) -> anyhow::Result<()> {
        match self.own.lock().take() {
            Some(local) => local.close(),
            None => Ok(()),
        }
    }
}
