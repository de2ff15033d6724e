//! Reads every byte of a chain's files and names what is wrong.
//!
//! Called by verification, on a chain that nobody is writing to. It believes neither the index nor the
//! tip mark: each record is read, decoded and computed again, each block must follow the one before, and
//! the tip mark must name the last of them. Only which bodies were pruned is taken from the tip mark.

use lucid_core::digest::BlockHash;

use crate::files::chain::FOLDER;
use crate::files::chain::tip::{self, FilesEnd, FoundTip, Pruned, TIP};
use crate::files::chain::walk::{FileRole, Pairs};
use crate::files::disk::Disk;
use crate::files::log::number_of;
use crate::{Damage, StoreError};

/// Everything that is wrong with the chain of a store. Empty means that every byte was read and is
/// what it was.
pub fn audit(disk: &dyn Disk, store: [u8; 16]) -> Result<Vec<Damage>, StoreError> {
    let mut damage = Vec::new();
    let names = disk.list(FOLDER).map_err(StoreError::io(format!("listing {FOLDER}/")))?;
    for name in names {
        if !FileRole::BOTH.iter().any(|role| number_of(&name, role.name()).is_some()) {
            let why = "the file is none of the chain's: move it away";
            damage.push(Damage::new(format!("{FOLDER}/{name}"), 0, why));
        }
    }
    let mut last: Option<(u64, BlockHash, (FilesEnd, FilesEnd))> = None;
    let start = (FilesEnd::START, FilesEnd::START);
    let pruned = match tip::read(disk)? {
        FoundTip::At(mark) => mark.pruned,
        _ => Pruned::default(),
    };
    let mut pairs = Pairs::new(disk, store, 0, start, BlockHash::ZERO, pruned)?;
    let mut ends_in_damage = false;
    while let Some(pair) = pairs.next()? {
        ends_in_damage = !pair.damage.is_empty();
        damage.extend(pair.damage.iter().map(|(_, _, damage)| damage.clone()));
        let parent = last.map_or(Some(BlockHash::ZERO), |(_, hash, _)| Some(hash));
        if let Ok((found, record, _)) = &pair.record {
            let fault = |why: String| FileRole::Blocks.damage(found.file, found.offset, why);
            if let Err(why) = record.check() {
                damage.push(fault(why.to_string()));
            }
            // Behind a block whose hash is lost, nothing can be said about the link.
            if parent.is_some_and(|hash| {
                (hash != BlockHash::ZERO || pair.height == 0) && hash != record.entry.previous_hash
            }) {
                damage.push(fault("the block does not follow the one before it".to_owned()));
            }
        }
        let before = last.map_or(start, |(_, _, ends)| ends);
        let ends = (pair.ends.0.unwrap_or(before.0), pair.ends.1.unwrap_or(before.1));
        last = Some((pair.height, pair.hash, ends));
    }
    let rest = pairs.rest();
    ends_in_damage |= !rest.is_empty();
    damage.extend(rest.into_iter().map(|(_, _, damage)| damage));
    check_tip_mark(disk, last, ends_in_damage, &mut damage)?;
    damage.sort();
    damage.dedup();
    Ok(damage)
}

fn check_tip_mark(
    disk: &dyn Disk,
    last: Option<(u64, BlockHash, (FilesEnd, FilesEnd))>,
    ends_in_damage: bool,
    damage: &mut Vec<Damage>,
) -> Result<(), StoreError> {
    let mark = match (tip::read(disk)?, last) {
        (FoundTip::Damaged(found), _) => {
            damage.push(found);
            return Ok(());
        }
        (FoundTip::Absent, None) => return Ok(()),
        (FoundTip::Absent, Some(_)) => {
            damage.push(Damage::new(TIP, 0, "the file is missing"));
            return Ok(());
        }
        (FoundTip::At(mark), _) => mark,
    };
    let Some((height, hash, ends)) = last else {
        damage.push(Damage::new(
            TIP,
            0,
            format!("it names block {}, and none is there", mark.height),
        ));
        return Ok(());
    };
    let agrees = (height, ends) == (mark.height, (mark.blocks, mark.bodies)) && hash == mark.hash;
    // With damage at the very end, the walk may stop short of the tip mark; that damage is named already.
    if !agrees && (!ends_in_damage || height > mark.height) {
        let why = format!(
            "it names block {} ({}), and block {height} ({hash}) is the last",
            mark.height, mark.hash
        );
        damage.push(Damage::new(TIP, 0, why));
    }
    Ok(())
}
