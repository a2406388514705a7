//! Writes what a coverage-guided fuzzer begins with: a folder of good inputs for each format, and a
//! dictionary of what parsers trip over.

use placet_fuzz::{Format, WORDS};
use std::path::PathBuf;
use std::process::ExitCode;
use std::{env, fs, io};

fn main() -> ExitCode {
    let Some(dir) = env::args_os().nth(1).map(PathBuf::from) else {
        eprintln!("placet-fuzz DIR: writes good inputs of every format to folders of DIR");
        return ExitCode::from(2);
    };
    match write(&dir) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}: {error}", dir.display());
            ExitCode::FAILURE
        }
    }
}

fn write(dir: &std::path::Path) -> io::Result<()> {
    for name in Format::NAMES {
        let place = dir.join(name);
        fs::create_dir_all(&place)?;
        let seeds = Format::named(name).map(|it| it.seeds().to_vec()).unwrap_or_default();
        for (number, seed) in seeds.iter().enumerate() {
            fs::write(place.join(format!("{number:02}")), seed)?;
        }
        println!("{name}");
    }
    let escaped = |word: &&str| {
        let bytes: String = word.bytes().map(|byte| format!("\\x{byte:02x}")).collect();
        format!("\"{bytes}\"\n")
    };
    fs::write(dir.join("words.dict"), WORDS.iter().map(escaped).collect::<String>())
}
