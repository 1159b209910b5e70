//! Where a configuration is read from.
//!
//! **Owns** the inputs of [`Config::load`](super::Config::load), gathered once, so that loading depends on nothing else.
//! **Not here**: their meaning.

use std::fmt;
use std::path::{Path, PathBuf};

use actors::ports::faults::Faults;
use toml::Value;

use super::layers::Source;
use super::problems::Problems;

/// The inputs of one load, lowest layer first: presets, file, environment, flags.
#[derive(Clone, Default)]
pub struct Sources {
    pub(super) presets: Vec<Setting>,
    pub(super) file: Option<PathBuf>,
    pub(super) environment: Vec<(String, String)>,
    pub(super) flags: Vec<Setting>,
    pub(super) host_name: Option<String>,
    /// What the process may use, and who says so.
    pub(super) memory: Option<(u64, &'static str)>,
    fault_plan: Option<String>,
}

/// Without the values, some of which may be secret.
impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys = |settings: &[Setting]| settings.iter().map(|setting| setting.key).collect::<Vec<_>>();
        let names: Vec<&str> = self.environment.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("Sources")
            .field("presets", &keys(&self.presets))
            .field("file", &self.file)
            .field("environment", &names)
            .field("flags", &keys(&self.flags))
            .field("host_name", &self.host_name)
            .finish_non_exhaustive()
    }
}

/// One value that does not stand in a file or in the environment.
#[derive(Clone)]
pub(super) struct Setting {
    pub(super) source: Source,
    /// `section.key`.
    pub(super) key: &'static str,
    pub(super) value: Value,
}

impl Sources {
    /// Nothing but a file: for tests and tools.
    pub fn of_file(file: Option<PathBuf>) -> Self {
        Self { file, ..Self::default() }
    }

    /// The file, this process's environment and host name.
    pub fn of_process(file: Option<PathBuf>) -> Self {
        // Not `std::env::vars`, which panics on any variable that is not UTF-8, ours or not.
        let variables = std::env::vars_os().filter_map(|(name, value)| {
            let name = name.into_string().ok()?;
            let ours = name.starts_with("MANGROVE_") || name.starts_with("OTEL_");
            ours.then(|| (name, value.to_string_lossy().into_owned()))
        });
        Self { file, host_name: host_name(), memory: crate::memory::limit(), ..Self::default() }.environment(variables)
    }

    /// Sets the environment.
    #[must_use]
    pub fn environment(mut self, variables: impl IntoIterator<Item = (String, String)>) -> Self {
        self.environment = variables.into_iter().collect();
        // The order of the process's environment means nothing; the order of the problems should not either.
        self.environment.sort();
        self
    }

    /// Crash points to trigger, for tests. Overrides `MANGROVE_FAULTS`.
    #[must_use]
    pub fn fault_plan(mut self, plan: Option<&str>) -> Self {
        self.fault_plan = plan.map(str::to_owned).or(self.fault_plan);
        self
    }

    /// A variable that another convention than ours has a name for.
    pub(super) fn variable(&self, name: &str) -> Option<&str> {
        self.environment.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(super) fn faults(&self, problems: &mut Problems) -> Faults {
        let plan = self.fault_plan.as_deref().or(self.variable("MANGROVE_FAULTS"));
        Faults::parse(plan.unwrap_or_default()).unwrap_or_else(|error| {
            problems.add_at("MANGROVE_FAULTS", "", error.to_string());
            Faults::none()
        })
    }

    /// Sets how much memory the process may use.
    #[must_use]
    pub fn memory(mut self, bytes: u64) -> Self {
        self.memory = Some((bytes, "a test"));
        self
    }

    /// Sets the host name, from which the worker's id is taken.
    #[must_use]
    pub fn host_name(mut self, name: &str) -> Self {
        self.host_name = Some(name.to_owned());
        self
    }

    /// A value of a subcommand that file, environment and flags override.
    #[must_use]
    pub fn preset(mut self, command: &'static str, key: &'static str, value: impl Into<Value>) -> Self {
        self.presets.push(Setting { source: Source::Command(command), key, value: value.into() });
        self
    }

    /// A value that a subcommand insists on.
    #[must_use]
    pub fn forced(mut self, command: &'static str, key: &'static str, value: impl Into<Value>) -> Self {
        self.flags.push(Setting { source: Source::Command(command), key, value: value.into() });
        self
    }

    /// A flag, if it was given.
    #[must_use]
    pub fn flag(mut self, flag: &'static str, key: &'static str, value: Option<impl Into<Value>>) -> Self {
        let setting = value.map(|value| Setting { source: Source::Flag(flag), key, value: value.into() });
        self.flags.extend(setting);
        self
    }

    /// A flag that names a built-in schema or a file of one.
    #[must_use]
    pub fn schema_flag(self, flag: &'static str, name_or_file: Option<&str>) -> Self {
        let Some(text) = name_or_file else { return self };
        let is_file = text.contains(['/', '\\']) || text.ends_with(".toml") || Path::new(text).is_file();
        let is_built_in = messages::schema::BUILT_IN.iter().any(|(name, _)| *name == text);
        let (name, file) = if is_file && !is_built_in { ("", text) } else { (text, "") };
        // Both: a flag replaces whichever of the two the file has set.
        self.flag(flag, "schema.use", Some(name)).flag(flag, "schema.file", Some(file))
    }
}

/// The host's name; in a pod, the pod's.
fn host_name() -> Option<String> {
    let of_file = |path| std::fs::read_to_string(path).ok();
    let names = [std::env::var("HOSTNAME").ok(), of_file("/proc/sys/kernel/hostname"), of_file("/etc/hostname")];
    names.into_iter().flatten().map(|name| name.trim().to_owned()).find(|name| !name.is_empty())
}
