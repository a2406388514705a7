//! Tiles: their names and bytes, and a plain client that has nothing but a checkpoint and tiles.

use placet_tlog::merkle::{empty_root, leaf_hash, node_hash, verify_consistency, verify_inclusion};
use placet_tlog::tiles::{
    ReadError, TILE_WIDTH, TileError, entry_tiles, hash_tiles, read_bundle, read_hashes,
    write_bundle, write_hashes,
};
use placet_tlog::tree::TreeError;
use placet_tlog::verify::PortableHasher as H;
use placet_tlog::{Hash, Row, TileReader, TileRef, Tree};
use proptest::prelude::*;
use std::collections::BTreeMap;

fn entry(index: u64) -> Vec<u8> {
    format!("entry {index}").into_bytes()
}

fn leaves(count: u64) -> Vec<Hash> {
    (0..count).map(|index| leaf_hash::<H>(&entry(index))).collect()
}

fn build(window: u64, leaves: &[Hash]) -> Tree<H> {
    let mut tree = Tree::new(window);
    leaves.iter().for_each(|leaf| tree.append(*leaf));
    tree
}

/// MTH of RFC 6962 §2.1.
fn naive_root(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => empty_root::<H>(),
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
            node_hash::<H>(&naive_root(left), &naive_root(right))
        }
    }
}

/// The tile by the formula of the specification, from all leaves.
fn naive_tile(level: u32, number: u64, leaves: &[Hash]) -> Vec<Hash> {
    let span = 256_usize.pow(level);
    let start = number as usize * 256 * span;
    let whole = leaves.get(start..).unwrap_or(&[]).chunks_exact(span);
    whole.take(256).map(naive_root).collect()
}

/// What a static file server of this log would hold.
fn publish(tree: &Tree<H>, leaves: &[Hash], size: u64) -> BTreeMap<String, Vec<u8>> {
    let mut source = |number: u64| {
        let start = number as usize * 256;
        leaves.get(start..start + 256).map(<[Hash]>::to_vec)
    };
    let mut files = BTreeMap::new();
    for tile in hash_tiles(0, size) {
        let hashes = tree.tile(&tile, &mut source).unwrap();
        assert_eq!(hashes.len(), usize::from(tile.width()));
        files.insert(tile.to_string(), write_hashes(&hashes));
    }
    for tile in entry_tiles(0, size) {
        let entries: Vec<Vec<u8>> = tile.columns().map(entry).collect();
        files.insert(tile.to_string(), write_bundle(entries.iter().map(Vec::as_slice)).unwrap());
    }
    files
}

type Fetch<'f> = Box<dyn FnMut(&TileRef) -> Option<Vec<u8>> + 'f>;

fn reader(
    size: u64,
    root: Hash,
    files: &BTreeMap<String, Vec<u8>>,
) -> Result<TileReader<Fetch<'_>, H>, ReadError> {
    let fetch = |tile: &TileRef| files.get(&tile.to_string()).cloned();
    TileReader::open(size, root, Box::new(fetch))
}

#[test]
fn paths_are_those_of_the_specification() {
    let check = |row, number, width, path: &str| {
        let tile = TileRef::new(row, number, width).unwrap();
        assert_eq!(tile.to_string(), path);
        assert_eq!(TileRef::parse(path), Ok(tile));
    };
    check(Row::Hashes(0), 1_234_067, 256, "tile/0/x001/x234/067");
    check(Row::Hashes(3), 1_234_067, 256, "tile/3/x001/x234/067");
    check(Row::Hashes(0), 0, 256, "tile/0/000");
    check(Row::Hashes(63), 999, 1, "tile/63/999.p/1");
    check(Row::Hashes(1), 1000, 255, "tile/1/x001/000.p/255");
    check(Row::Entries, 1_000_000, 17, "tile/entries/x001/x000/000.p/17");
    check(Row::Hashes(0), u64::MAX, 256, "tile/0/x018/x446/x744/x073/x709/x551/615");
}

#[test]
fn other_spellings_are_refused() {
    let check = |path: &str, want| assert_eq!(TileRef::parse(path), Err(want), "{path}");
    for path in [
        "",
        "tile",
        "tile/",
        "tile/0",
        "tile/0/",
        "/tile/0/000",
        "tile/0/000/",
        "tile//000",
        "tile/00/000",
        "tile/+1/000",
        "tile/64/000",
        "tile/256/000",
        "tile/-1/000",
        "tile/0/0",
        "tile/0/00",
        "tile/0/0000",
        "tile/0/x000",
        "tile/0/001/002",
        "tile/0/x001/x002",
        "tile/0/X001/002",
        "tile/0/x1/002",
        "tile/0/x0001/002",
        "tile/0/x001//002",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/000.p/01",
        "tile/0/000.p/",
        "tile/0/000.p/1/",
        "tile/0/000.p/1.p/1",
        "tile/0/000.p",
        "tile/0/x001.p/1",
        "tile/Entries/000",
        "tile/0/x018/x446/x744/x073/x709/x551/616",
        "tile/0/x001/x018/x446/x744/x073/x709/x551/615",
        "tile/0/٠٠٠",
    ] {
        check(path, TileError::Path);
    }
    check("tile/0/x000/001", TileError::NotCanonical);
    check("tile/entries/x000/x001/000", TileError::NotCanonical);
    for (row, width) in [(Row::Hashes(64), 1), (Row::Hashes(0), 0), (Row::Entries, 257)] {
        assert_eq!(TileRef::new(row, 0, width), None);
    }
}

/// The two examples of the specification.
#[test]
fn a_size_has_the_tiles_of_the_specification() {
    let widths = |size, level| -> Vec<u16> {
        let of_level = |tile: &TileRef| tile.row() == Row::Hashes(level);
        hash_tiles(0, size).filter(of_level).map(|tile| tile.width()).collect()
    };
    let row = widths(70_000, 0);
    assert_eq!(
        (row.len(), row[..273].iter().all(|width| *width == 256), row[273]),
        (274, true, 112)
    );
    assert_eq!(widths(70_000, 1), [256, 17]);
    assert_eq!(widths(70_000, 2), [1]);
    assert_eq!(widths(70_000, 3), [0_u16; 0]);
    let names = |size| hash_tiles(0, size).map(|tile| tile.to_string()).collect::<Vec<_>>();
    assert_eq!(names(256), ["tile/0/000", "tile/1/000.p/1"]);
    assert_eq!(names(0), [""; 0]);
    assert_eq!(names(1), ["tile/0/000.p/1"]);
    // The largest size has no tile above level 7, and naming them all is the caller's patience.
    let last = TileRef::at(Row::Hashes(7), 0, u64::MAX).unwrap();
    assert_eq!((last.width(), TileRef::at(Row::Hashes(8), 0, u64::MAX)), (255, None));
    assert!(TileRef::at(Row::Hashes(0), u64::MAX, u64::MAX).is_none());
}

/// Following a log fetches what is new, and after every step holds what a fresh copy holds.
#[test]
fn what_is_new_between_two_sizes_adds_up() {
    let mut held = std::collections::BTreeSet::new();
    let mut old = 0;
    for step in [1_u64, 254, 1, 1, 255, 256, 257, 1000, 64_000, 1] {
        let new = old + step;
        let fresh: Vec<TileRef> = hash_tiles(old, new).chain(entry_tiles(old, new)).collect();
        assert!(fresh.iter().all(|tile| held.insert(*tile)), "{new}");
        assert!(fresh.iter().all(|tile| tile.exists_within(new) && !tile.exists_within(old)));
        assert!(hash_tiles(0, new).chain(entry_tiles(0, new)).all(|tile| held.contains(&tile)));
        assert_eq!(hash_tiles(new, new).chain(entry_tiles(new, old)).count(), 0);
        old = new;
    }
}

#[test]
fn a_naive_client_recomputes_every_root() {
    let all = leaves(600);
    for size in 1..=600_u64 {
        let known = &all[..size as usize];
        let tree = build(256, known);
        let files = publish(&tree, known, size);
        for (path, bytes) in &files {
            let tile = TileRef::parse(path).unwrap();
            if let Row::Hashes(level) = tile.row() {
                let naive = naive_tile(u32::from(level), tile.number(), known);
                assert_eq!(*bytes, naive.concat(), "{path} at {size}");
            }
        }
        // Level 0 alone is the tree; entries hash to it.
        let mut downloaded = Vec::new();
        let mut from_entries = Vec::new();
        for (path, bytes) in &files {
            let tile = TileRef::parse(path).unwrap();
            match tile.row() {
                Row::Hashes(0) => downloaded.extend(read_hashes(bytes, tile.width()).unwrap()),
                Row::Entries => from_entries.extend(
                    read_bundle(bytes, tile.width()).unwrap().into_iter().map(leaf_hash::<H>),
                ),
                Row::Hashes(_) => {}
            }
        }
        assert_eq!(naive_root(&downloaded), tree.root(), "{size}");
        assert_eq!(from_entries, downloaded, "{size}");
        assert_eq!(reader(size, tree.root(), &files).unwrap().root_at(size), Ok(tree.root()));
        assert_eq!(reader(size, all[0], &files).map(|_| ()).is_ok(), tree.root() == all[0]);
    }
}

/// Where three rows begin, from pruned trees, at the present and at earlier sizes.
#[test]
fn tiles_prove_as_the_tree_does_around_65536() {
    let all = leaves(65_537);
    let tree = build(256, &all);
    let mut source = |number: u64| {
        let start = number as usize * 256;
        all.get(start..start + 256).map(<[Hash]>::to_vec)
    };
    for size in [65_535_u64, 65_536, 65_537] {
        let root = tree.root_at(size, &mut source).unwrap();
        assert_eq!(root, naive_root(&all[..size as usize]));
        let files = publish(&tree, &all, size);
        let mut log = reader(size, root, &files).unwrap();
        for index in [0, 255, 256, 257, 32_767, 40_000, 65_279, 65_280, 65_534] {
            for at in [index + 1, (index + size) / 2 + 1, size] {
                let path = log.inclusion_proof(index, at).unwrap();
                assert_eq!(path, tree.inclusion_proof(index, at, &mut source).unwrap());
                let old = log.root_at(at).unwrap();
                verify_inclusion::<H>(&all[index as usize], index, at, &path, &old).unwrap();
                assert_eq!(log.leaf(index), Ok(all[index as usize]));
                let path = log.consistency_proof(at, size).unwrap();
                assert_eq!(path, tree.consistency_proof(at, size, &mut source).unwrap());
                verify_consistency::<H>(at, size, &path, &old, &root).unwrap();
                assert_eq!(log.check_extends(at, &old), Ok(()));
                assert_eq!(log.check_extends(at, &all[3]), Err(ReadError::Inconsistent));
            }
        }
        let bundle = log.entries(100).unwrap();
        assert_eq!(bundle, (25_600..25_856).map(entry).collect::<Vec<_>>());
        for outside in [log.leaf(size), log.root_at(size + 1)] {
            assert_eq!(outside, Err(ReadError::OutOfRange));
        }
        assert!(log.entries(257).is_err() && log.inclusion_proof(0, size + 1).is_err());
        assert!(log.consistency_proof(2, 1).is_err() && log.inclusion_proof(5, 5).is_err());
    }
}

/// Every altered, cut or missing file is found by the time its content would be used.
#[test]
fn a_reader_believes_no_altered_tile() {
    let size = 66_000_u64;
    let all = leaves(size);
    let tree = build(4096, &all);
    let good = publish(&tree, &all, size);
    // What a file is needed for: its own hashes, or the entries in it.
    let read = |files: &BTreeMap<String, Vec<u8>>, tile: TileRef| -> Result<(), ReadError> {
        let mut log = reader(size, tree.root(), files)?;
        match tile.row() {
            Row::Hashes(_) => log.hashes(&tile).map(|_| ()),
            Row::Entries => log.entries(tile.number()).map(|_| ()),
        }
    };
    for (path, bytes) in
        good.iter().step_by(37).chain(good.iter().filter(|(p, _)| p.contains(".p")))
    {
        let mut files = good.clone();
        let tile = TileRef::parse(path).unwrap();
        read(&good, tile).unwrap();
        for at in [0, bytes.len() / 2, bytes.len() - 1] {
            files.get_mut(path).unwrap()[at] ^= 0x10;
            assert!(read(&files, tile).is_err(), "{path} byte {at}");
            files.insert(path.clone(), bytes.clone());
        }
        for other in [&bytes[1..], &bytes[..bytes.len() - 32.min(bytes.len() - 1)], &[]] {
            files.insert(path.clone(), other.to_vec());
            assert!(read(&files, tile).is_err(), "{path} cut");
        }
        files.remove(path);
        assert_eq!(read(&files, tile), Err(ReadError::Missing(tile)));
    }
}

/// A log may delete partial tiles once the full ones are there.
#[test]
fn a_full_tile_stands_in_for_a_partial_one() {
    let all = leaves(1024);
    let tree = build(4096, &all);
    let files = publish(&tree, &all, 1024);
    assert!(!files.contains_key("tile/0/002.p/88"));
    let root = naive_root(&all[..600]);
    // Row 1 of the smaller size is a prefix of what is there as tile/1/000.p/4 only: no stand-in.
    let missing = TileRef::parse("tile/1/000.p/2").unwrap();
    assert_eq!(reader(600, root, &files).unwrap_err(), ReadError::Missing(missing));
    let mut files = files;
    let row = tree.tile(&missing, &mut |_| None).unwrap();
    files.insert(missing.to_string(), write_hashes(&row));
    let mut log = reader(600, root, &files).unwrap();
    assert_eq!(log.entries(2).unwrap(), (512..600).map(entry).collect::<Vec<_>>());
    assert_eq!(log.leaf(599), Ok(all[599]));
    assert_eq!(log.leaf(600), Err(ReadError::OutOfRange));
}

#[test]
fn a_tree_serves_no_tile_that_it_lacks_or_cannot_check() {
    let all = leaves(2000);
    let tree = build(256, &all);
    let parse = |path: &str| TileRef::parse(path).unwrap();
    let mut no_source = |_: u64| None;
    for path in [
        "tile/entries/000",
        "tile/0/007.p/209",
        "tile/0/007",
        "tile/0/008.p/1",
        "tile/1/000.p/8",
        "tile/2/000.p/1",
        "tile/63/000",
    ] {
        assert_eq!(tree.tile(&parse(path), &mut no_source), Err(TreeError::OutOfRange), "{path}");
    }
    assert_eq!(tree.tile(&parse("tile/0/007.p/208"), &mut no_source).unwrap(), all[1792..]);
    assert_eq!(tree.tile(&parse("tile/0/007.p/1"), &mut no_source).unwrap(), all[1792..1793]);
    assert_eq!(tree.tile(&parse("tile/1/000.p/7"), &mut no_source).unwrap().len(), 7);
    let old = parse("tile/0/000.p/3");
    assert_eq!(tree.tile(&old, &mut no_source), Err(TreeError::TileMissing(0)));
    let mut odd = all[..256].to_vec();
    odd[200] = all[0];
    let mut damaged = |_: u64| Some(odd.clone());
    assert_eq!(tree.tile(&old, &mut damaged), Err(TreeError::TileMismatch(0)));
    let mut short = |_: u64| Some(all[..255].to_vec());
    assert_eq!(tree.tile(&old, &mut short), Err(TreeError::TileMismatch(0)));
}

#[test]
fn bundles_hold_what_tiles_can() {
    let largest = vec![7_u8; 65_535];
    let bundle = write_bundle([&b""[..], &largest, b"x"]).unwrap();
    assert_eq!(bundle[..4], [0, 0, 0xff, 0xff]);
    assert_eq!(read_bundle(&bundle, 3).unwrap(), [&b""[..], &largest, b"x"]);
    for width in [0, 1, 2, 4, 256] {
        assert_eq!(read_bundle(&bundle, width), Err(TileError::Length), "{width}");
    }
    let too_large = vec![0_u8; 65_536];
    assert_eq!(write_bundle([&too_large[..]]), Err(TileError::EntryTooLarge));
    assert_eq!(write_bundle([&b""[..]; 257]), Err(TileError::Length));
    assert_eq!(write_bundle([]), Err(TileError::Length));
    assert_eq!(read_hashes(&[0; 63], 2), Err(TileError::Length));
    assert_eq!(read_hashes(&[0; 64], 1), Err(TileError::Length));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn every_name_is_read_as_written(level in 0_u8..=63, number: u64, width in 1_u16..=TILE_WIDTH, bits in 0_u32..64) {
        let row = if level == 63 { Row::Entries } else { Row::Hashes(level) };
        let tile = TileRef::new(row, number >> bits, width).unwrap();
        prop_assert_eq!(TileRef::parse(&tile.to_string()), Ok(tile));
    }

    /// Whatever is read is the one spelling of it.
    #[test]
    fn any_text_is_a_name_or_refused(text in "(tile/)?([0-9]{1,2}|entries)/(x[0-9]{3}/){0,3}[0-9]{2,4}(\\.p/[0-9]{1,3})?|\\PC{0,40}") {
        if let Ok(tile) = TileRef::parse(&text) {
            prop_assert_eq!(tile.to_string(), text);
        }
    }

    #[test]
    fn any_bytes_are_a_bundle_or_refused(bytes in prop::collection::vec(0_u8..6, 0..200), width in 0_u16..12) {
        if let Ok(entries) = read_bundle(&bytes, width) {
            prop_assert_eq!(entries.len(), usize::from(width));
            if width > 0 {
                prop_assert_eq!(write_bundle(entries).unwrap(), bytes);
            }
        }
    }

    /// A source that answers anything at all brings nothing false and no panic.
    #[test]
    fn any_answers_are_refused(size: u64, bits in 0_u32..64, fill: u8, picks in prop::collection::vec(any::<u64>(), 4)) {
        let size = size >> bits;
        let fetch = |tile: &TileRef| Some(vec![fill; usize::from(tile.width()) * 32]);
        if let Ok(mut log) = TileReader::<_, H>::open(size, empty_root::<H>(), fetch) {
            prop_assert_eq!(size, 0);
            for pick in picks {
                prop_assert!(log.leaf(pick).is_err() && log.entries(pick).is_err());
            }
        }
    }
}
