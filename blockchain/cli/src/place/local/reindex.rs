//! Rebuilding the indexes of a folder.

use lucid_block_manager::opened as manager;
use lucid_core::time::Timestamp;
use lucid_data_chain::Opened;
use lucid_data_chain::opened::FOLDER_OWNER;
use lucid_data_chain::ops::proofs::recognise_chain::accept_other_chain;
use lucid_data_chain::projection::RemadeOrders;
use lucid_store::files::folder::{Options, STORE, STORE_TITLE, copy_name, parse_label};

use super::{CHAIN_FOLDER, chain_folder, data_folder, manager_options, options};
use crate::cmd::Home;

/// Whose own folder `--data` itself is, where it is none that holds those of both services: `LUCID_DATA_DIR`
/// of one.
pub(super) fn own_folder_of(home: &Home) -> Option<String> {
    [STORE.to_owned(), copy_name(STORE)].iter().find_map(|name| {
        let text = std::fs::read_to_string(home.data.join(name)).ok()?;
        let label = parse_label(&text, STORE_TITLE).ok()?;
        label.get("service").map(|service| service.to_string())
    })
}

/// Rebuilds the indexes of both folders, or of the one service whose own folder is named; says what damage
/// was found on the way. `progress` hears how many bytes of the data-chain's log, of how many, are read.
pub fn reindex(
    home: &Home,
    now: Timestamp,
    accept_loss: bool,
    other_chain: bool,
    progress: &dyn Fn(u64, u64),
) -> anyhow::Result<Vec<String>> {
    let owner = "`lucid reindex`";
    let own = own_folder_of(home);
    let is_own = |service: &str| own.as_deref() == Some(service);
    let mut damage = Vec::new();
    if is_own(CHAIN_FOLDER) {
        anyhow::ensure!(
            !other_chain,
            "--accept-other-chain is for a data-chain, and {} is a block-manager's: name the folder that \
             has the sessions",
            home.data.display()
        );
    } else {
        let folder = if is_own(FOLDER_OWNER) { home.data.clone() } else { data_folder(home) };
        let (root_key_file, passphrase) = home.given_to(&folder);
        let options =
            Options { root_key_file, passphrase, ..options(home, owner, now, false, true) };
        let data = Opened::reindex(&folder, &options, accept_loss, progress)?;
        damage.extend(data.damage().iter().map(|damage| format!("{FOLDER_OWNER}/{damage}")));
        if other_chain {
            accept_other_chain(&data.vault)?;
        }
        data.close()?;
    }
    let folder = if is_own(CHAIN_FOLDER) { home.data.clone() } else { chain_folder(home) };
    if !is_own(FOLDER_OWNER) && folder.exists() {
        let options = manager::Options { accept_loss, ..manager_options(home, owner, &folder) };
        let chain = manager::reindex(&folder, &options, now)?;
        damage.extend(chain.damage().iter().map(|damage| format!("{CHAIN_FOLDER}/{damage}")));
        if chain.role_is_lost {
            damage.push(manager::OpenError::RoleLost.to_string());
        }
        chain.close()?;
    }
    Ok(damage)
}

/// Makes the orders of the data-chain's documents anew, and no other rows; and says what damage was come upon.
pub fn reindex_records(home: &Home, now: Timestamp) -> anyhow::Result<(RemadeOrders, Vec<String>)> {
    let own = own_folder_of(home);
    anyhow::ensure!(
        own.as_deref() != Some(CHAIN_FOLDER),
        "--records is for a data-chain, and {} is a block-manager's: name the folder that has the sessions",
        home.data.display()
    );
    let folder = if own.is_some() { home.data.clone() } else { data_folder(home) };
    let (root_key_file, passphrase) = home.given_to(&folder);
    let options =
        Options { root_key_file, passphrase, ..options(home, "`lucid reindex`", now, false, true) };
    let data = Opened::open(&folder, &options)?;
    let done = data.remake_orders()?;
    let damage = data.damage().iter().map(|damage| format!("{FOLDER_OWNER}/{damage}")).collect();
    data.close()?;
    Ok((done, damage))
}
