//! The presets: policies to start from, compiled into the program. Owns their list and their texts; what
//! they say is policy, and lies in `presets/` as files.

/// A policy to start from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Preset {
    /// Its name on the command line.
    pub(crate) name: &'static str,
    /// One line for people.
    pub(crate) about: &'static str,
    /// File names and texts.
    pub(crate) files: &'static [(&'static str, &'static str)],
}

macro_rules! preset {
    ($name:literal, $about:literal, [$($file:literal),* $(,)?]) => {
        Preset {
            name: $name,
            about: $about,
            files: &[$((
                concat!($file, ".yaml"),
                include_str!(concat!("../../../presets/", $name, "/", $file, ".yaml")),
            ),)*],
        }
    };
}

/// All presets, in the order in which they are offered.
pub(crate) const ALL: [Preset; 5] = [
    preset!(
        "starter",
        "four surfaces to begin with: money, infrastructure, exports, regulated messages",
        ["floor", "roles", "rules", "surfaces", "tests"]
    ),
    preset!(
        "layers",
        "a capability that runs by itself beside one that waits for people, each by its manifest",
        ["budgets", "capabilities", "models", "roles", "rules", "tests"]
    ),
    preset!(
        "jobs",
        "jobs over topics: reads run, writes to production wait, what destroys is denied",
        ["outputs", "rules", "tests", "topics"]
    ),
    preset!(
        "duties",
        "separation of duties: owner roles, and who has to approve which change",
        ["approvals", "derivers", "roles", "rules", "surfaces", "tests"]
    ),
    preset!(
        "evolution",
        "changing models by candidates: permitted mutations, prohibited permissions, aliases",
        ["budgets", "floor", "roles", "rules", "surfaces", "tests"]
    ),
];

/// The preset with this name.
pub(crate) fn find(name: &str) -> Option<&'static Preset> {
    ALL.iter().find(|preset| preset.name == name)
}

#[cfg(test)]
mod tests {
    use super::ALL;

    #[test]
    fn every_file_of_every_preset_is_compiled_in() {
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../presets");
        let names = |dir: &str| -> Vec<String> {
            let entries = std::fs::read_dir(dir).unwrap();
            let mut names: Vec<String> =
                entries.map(|it| it.unwrap().file_name().into_string().unwrap()).collect();
            names.sort();
            names
        };
        let mut all: Vec<String> = ALL.iter().map(|preset| preset.name.to_owned()).collect();
        all.sort();
        assert_eq!(names(root), all);
        for preset in &ALL {
            let files: Vec<&str> = preset.files.iter().map(|(name, _)| *name).collect();
            assert_eq!(names(&format!("{root}/{}", preset.name)), files, "{}", preset.name);
        }
    }
}
