//! Where a session came from, at the end of the fact that begins it and of its row: behind everything else, and
//! only where something is said, so that what earlier versions wrote reads as it did.

use lucid_core::manifest::{Source, Terminal};
use lucid_core::wire::{Reader, WireFault, Writer};

/// Who began a session, and where it came from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Origin {
    /// What the credentials are called of who began it, where any were asked for.
    pub begun_by: Option<String>,
    /// Its host, paths and tags, if its recorder said.
    pub source: Option<Source>,
    /// How large the recorded terminal was, if there was one.
    pub terminal: Option<Terminal>,
}

/// Writes it at the end. One that says nothing has no bytes, and one that names nothing but credentials has the
/// bytes that earlier versions gave it.
pub(crate) fn write_origin(
    to: &mut Writer,
    begun_by: Option<&str>,
    source: Option<&Source>,
    terminal: Option<Terminal>,
) {
    let begun_by = begun_by.unwrap_or_default();
    let has_more = source.is_some() || terminal.is_some();
    if has_more || !begun_by.is_empty() {
        to.text(begun_by);
    }
    if has_more {
        to.option(source, write_source);
        to.option(terminal, |to, terminal| {
            to.u16(terminal.columns).u16(terminal.rows);
        });
    }
}

/// Writes a host, paths and tags.
pub(crate) fn write_source(to: &mut Writer, source: &Source) {
    to.text(&source.host).count(source.paths.len());
    for path in &source.paths {
        to.bytes(path);
    }
    to.count(source.tags.len());
    for tag in &source.tags {
        to.text(tag);
    }
}

/// Reads [`write_source`], if it keeps the rules of a manifest.
pub(crate) fn read_source(from: &mut Reader<'_>) -> Result<Source, WireFault> {
    let host = from.text("a host")?.to_owned();
    let (mut paths, mut tags) = (Vec::new(), Vec::new());
    for _ in 0..from.u32("a count of paths")? {
        paths.push(from.bytes("a path")?.to_vec());
    }
    for _ in 0..from.u32("a count of tags")? {
        tags.push(from.text("a tag")?.to_owned());
    }
    let source = Source { host, paths, tags };
    match source.fault() {
        None => Ok(source),
        Some(_) => Err(WireFault::Invalid { what: "a source" }),
    }
}

/// Reads [`write_origin`]. A source and a terminal keep the rules of a manifest, or sealing would fail.
pub(crate) fn read_origin(from: &mut Reader<'_>) -> Result<Origin, WireFault> {
    if from.is_empty() {
        return Ok(Origin::default());
    }
    let invalid = |what| WireFault::Invalid { what };
    let begun_by = Some(from.text("a caller")?.to_owned()).filter(|name| !name.is_empty());
    if from.is_empty() {
        let origin = Origin { begun_by, ..Origin::default() };
        return if origin.begun_by.is_some() { Ok(origin) } else { Err(invalid("a caller")) };
    }
    let source = from.option("a source", read_source)?;
    let terminal = from.option("a terminal", |from| {
        Ok(Terminal { columns: from.u16("columns")?, rows: from.u16("rows")? })
    })?;
    let is_sound = terminal.is_none_or(|terminal| terminal.fault().is_none())
        && (source.is_some() || terminal.is_some());
    match is_sound {
        true => Ok(Origin { begun_by, source, terminal }),
        false => Err(invalid("a terminal")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(origin: &Origin) -> Vec<u8> {
        let mut to = Writer::new();
        write_origin(&mut to, origin.begun_by.as_deref(), origin.source.as_ref(), origin.terminal);
        to.finish()
    }

    fn read(bytes: &[u8]) -> Result<Origin, WireFault> {
        let mut from = Reader::new(bytes);
        let origin = read_origin(&mut from)?;
        from.finish()?;
        Ok(origin)
    }

    fn sample() -> Origin {
        let source = Source {
            host: "web-1".into(),
            paths: vec![b"/var/log".to_vec(), vec![0xff]],
            tags: vec!["a".into(), "b".into()],
        };
        let terminal = Some(Terminal { columns: 80, rows: 24 });
        Origin { begun_by: None, source: Some(source), terminal }
    }

    #[test]
    fn the_documented_bytes_are_these() {
        let by = |name: &str| Origin { begun_by: Some(name.into()), ..Origin::default() };
        // As versions before wrote them.
        assert_eq!(written(&Origin::default()), b"");
        assert_eq!(hex::encode(written(&by("t"))), "0100000074");
        assert_eq!(
            hex::encode(written(&sample())),
            "000000000105000000\
             7765622d3102000000080000002f7661722f6c6f6701000000ff\
             020000000100000061010000006201\
             50001800"
        );
        let sized = Origin { source: None, ..sample() };
        assert_eq!(hex::encode(written(&sized)), "00000000000150001800");
    }

    #[test]
    fn what_has_another_spelling_or_breaks_a_rule_is_refused() {
        // Nobody, twice nothing, a terminal without columns.
        for wrong in ["00000000", "000000000000", "00000000000100001800"] {
            assert!(read(&hex::decode(wrong).unwrap()).is_err(), "{wrong}");
        }
        let mut unsorted = sample();
        unsorted.source.as_mut().unwrap().tags.reverse();
        assert!(read(&written(&unsorted)).is_err());
        let whole = written(&sample());
        for cut in 1..whole.len() {
            assert!(read(&whole[..cut]).is_err(), "{cut}");
        }
    }

    proptest! {
        #[test]
        fn every_origin_reads_back(
            begun_by in proptest::option::of("[a-z]{1,5}"),
            host in "\\PC{0,9}",
            paths in proptest::collection::vec(proptest::collection::vec(1..=255_u8, 1..9), 0..4),
            tags in proptest::collection::btree_set("\\PC{1,5}", 0..4),
            has_source in any::<bool>(),
            terminal in proptest::option::of((1..=u16::MAX, 1..=u16::MAX)),
        ) {
            let source = Source { host, paths, tags: tags.into_iter().collect() };
            let terminal = terminal.map(|(columns, rows)| Terminal { columns, rows });
            let origin = Origin { begun_by, source: has_source.then_some(source), terminal };
            prop_assert_eq!(read(&written(&origin)), Ok(origin));
        }
    }
}
