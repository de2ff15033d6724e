//! What is shipped beside the programs: example configuration, files of variables and compose files, held to each other
//! and to what the services accept.

mod images;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use lucid_http::config::{ConfigError, Environment, Setting, unknown_variables, with_files};
use serde_json::Value;

/// What a service makes of its settings: all of them, and what it warns of.
type Told = Result<(Vec<Setting>, Vec<String>), ConfigError>;

/// A service as it is shipped.
struct Shipped {
    name: &'static str,
    dockerfile: &'static str,
    title: &'static str,
    port: u16,
    prefix: &'static str,
    load: fn(&Environment, Option<&Path>) -> Told,
}

const SERVICES: [Shipped; 2] = [
    Shipped {
        name: "data-chain",
        dockerfile: "blockchain/Dockerfile.data",
        title: "Lucid Data Chain",
        port: 8087,
        prefix: "DATA_CHAIN",
        load: |of, file| {
            lucid_data_chain::config::load(of, file).map(|loaded| (loaded.manual, loaded.warnings))
        },
    },
    Shipped {
        name: "block-manager",
        dockerfile: "blockchain/Dockerfile.manager",
        title: "Lucid Block Manager",
        port: 8086,
        prefix: "BLOCK_MANAGER",
        load: |of, file| {
            let loaded = lucid_block_manager::config::Config::load(of, file);
            loaded.map(|loaded| (loaded.manual, loaded.warnings))
        },
    },
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Text of the manual for people: links without where they lead to.
fn plain(about: &str) -> String {
    let mut text = String::new();
    let mut rest = about;
    while let Some((before, link)) = rest.split_once('[') {
        let Some((shown, after)) = link.split_once("](") else { break };
        let (_, after) = after.split_once(')').unwrap();
        text.push_str(before);
        text.push_str(shown);
        rest = after;
    }
    text.push_str(rest);
    text
}

/// Whether a default can stand in the file as it is.
fn is_value(default: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.:-".contains(&byte);
    default != "none" && !default.is_empty() && default.bytes().all(is_plain)
}

/// Lines of a comment with these words.
fn comment(text: &mut String, indent: &str, words: &str) {
    let mut line = format!("{indent}#");
    for word in words.split_whitespace() {
        if line.len() + word.len() > 110 {
            writeln!(text, "{line}").unwrap();
            line = format!("{indent}#");
        }
        line.push(' ');
        line.push_str(word);
    }
    writeln!(text, "{line}").unwrap();
}

/// The file of settings of a service with every setting, each commented out at its default.
fn commented(of: &Shipped, settings: &[Setting]) -> String {
    let mut text = format!(
        "# Settings of the {name}, for `lucid-{name} --config FILE`. Each stands here at its default, behind a #: take\n\
         # that away, and away from the line above it that ends with a colon, and change the value. A variable of the\n\
         # environment wins over this file; docs/CONFIGURATION.md says how they work together, and LUCID_RENEW_CONFIGS=1\n\
         # cargo test -p lucid --test it shipped writes this file anew.\n",
        name = of.name,
    );
    let mut groups: Vec<(&str, Vec<&Setting>)> = Vec::new();
    for setting in settings {
        let group = setting.file.split_once('.').map_or("", |(group, _)| group);
        match groups.iter_mut().find(|(name, _)| *name == group) {
            Some((_, members)) => members.push(setting),
            None => groups.push((group, vec![setting])),
        }
    }
    // What stands alone comes first, so that it cannot be taken for a part of a group.
    groups.sort_by_key(|(group, _)| !group.is_empty());
    for (group, members) in groups {
        let indent = if group.is_empty() { "" } else { "  " };
        if !group.is_empty() {
            write!(text, "\n#{group}:").unwrap();
        }
        for setting in members {
            text.push('\n');
            let variables = setting.variables.join(", ");
            let mut about = format!("{variables}: {}", plain(setting.about));
            if !setting.allowed.is_empty() {
                write!(about, " ({})", plain(&setting.allowed)).unwrap();
            }
            let name = setting.file.rsplit('.').next().unwrap();
            let is_value = is_value(&setting.default);
            if !is_value {
                write!(about, ". Default: {}", plain(&setting.default)).unwrap();
            }
            comment(&mut text, indent, &about);
            let value = if is_value { format!(" {}", setting.default) } else { String::new() };
            writeln!(text, "#{indent}{name}:{value}").unwrap();
        }
    }
    text
}

#[test]
fn the_commented_files_have_every_setting_at_its_default_and_are_accepted() {
    let folder = tempfile::tempdir().unwrap();
    for service in &SERVICES {
        let (settings, _) = (service.load)(&Environment::new(), None).unwrap();
        let path = format!("configs/{}.yaml", service.name);
        let text = commented(service, &settings);
        if lucid_http::config::process_environment().contains_key("LUCID_RENEW_CONFIGS") {
            fs::write(root().join(&path), &text).unwrap();
        }
        assert_eq!(read(&path), text, "{path} is not what the {} asks for", service.name);
        (service.load)(&Environment::new(), Some(&root().join(&path))).unwrap();
        // With every # taken away the settings are the same as without a file. Comments have one blank behind it.
        let settings_alone = text.lines().filter_map(|line| line.strip_prefix('#'));
        let all: Vec<&str> = settings_alone
            .filter(|line| line.starts_with("  ") || !line.starts_with(' '))
            .filter(|line| !line.is_empty())
            .collect();
        let file = folder.path().join("all.yaml");
        fs::write(&file, all.join("\n")).unwrap();
        let with_all = (service.load)(&Environment::new(), Some(&file));
        let (with_all, warnings) = with_all.unwrap_or_else(|error| panic!("{error}\n{all:#?}"));
        assert_eq!(warnings, Vec::<String>::new());
        assert_eq!(with_all.len(), settings.len());
        assert!(all.len() > settings.len(), "{} lines", all.len());
    }
}

/// The value of a text in which `${NAME}` and `${NAME:-default}` stand for variables.
fn filled(text: &str, variables: &Environment) -> String {
    let mut filled = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        let (inside, after) = after.split_once('}').unwrap();
        let (name, default) = inside.split_once(":-").unwrap_or((inside, ""));
        let value = variables.get(name).filter(|value| !value.is_empty());
        filled.push_str(before);
        filled.push_str(value.map_or(default, String::as_str));
        rest = after;
    }
    filled + rest
}

/// The files of variables of an installation as it is shipped, with secrets as `lucid init` makes them.
fn variables() -> Environment {
    let files = [".env.foundation", ".env.core"];
    let files = files.map(|name| root().join("configs/environment").join(name));
    let (mut read, _) = with_files(Environment::new(), &files).unwrap();
    for name in ["DATA_CHAIN_STORE_ID", "BLOCK_MANAGER_STORE_ID", "LUCID_PEER_TOKEN"] {
        read.insert(name.to_owned(), "0123456789abcdef0123456789abcdef".to_owned());
    }
    read
}

fn compose(name: &str, variables: &Environment) -> Value {
    let text = filled(&read(&format!("configs/docker/docker-compose.{name}.yml")), variables);
    serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn texts(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect()
}

/// A field of a service; what several have alike stands in what they are merged with.
fn field<'a>(service: &'a Value, name: &str) -> &'a Value {
    let merged = &service["<<"][name];
    if service[name].is_null() { merged } else { &service[name] }
}

#[test]
fn the_core_compose_file_starts_both_services_closed_and_with_settings_that_they_accept() {
    let variables = variables();
    let folder = tempfile::tempdir().unwrap();
    let file = compose("core", &variables);
    assert_eq!(file["name"], "lucid-foundation");
    for of in &SERVICES {
        let service = &file["services"][of.name];
        let named = |name: &str| field(service, name);
        assert_eq!(named("image"), &format!("pickme/lucid-{}:latest-arm64", of.name));
        assert_eq!(
            (named("container_name"), named("hostname")),
            (&of.name.into(), &of.name.into())
        );
        assert_eq!(
            (named("restart"), named("user")),
            (&"unless-stopped".into(), &"65532:65532".into())
        );
        assert_eq!(named("read_only"), &Value::Bool(true));
        assert_eq!(texts(named("cap_drop")), ["ALL"]);
        assert_eq!(texts(named("security_opt")), ["no-new-privileges:true"]);
        assert_eq!(texts(named("tmpfs")), ["/tmp:noexec,nosuid,size=200m"]);
        for forbidden in ["cap_add", "privileged", "entrypoint", "command", "healthcheck", "pid"] {
            assert!(named(forbidden).is_null(), "{}: {forbidden}", of.name);
        }
        assert_eq!(texts(named("ports")), [format!("127.0.0.1:{0}:{0}", of.port)]);
        let mounts = ["data", "logs"]
            .map(|kind| format!("/mnt/myssd/Lucid/Lucid/{kind}/{}:/app/{kind}:rw", of.name));
        let access = "/mnt/myssd/Lucid/Lucid/access:/app/access:ro".to_owned();
        assert_eq!(texts(named("volumes")), [&mounts[..], &[access]].concat());
        let aliases = texts(&named("networks")["lucid-core"]["aliases"]);
        assert_eq!(aliases, [format!("lucid-{}", of.name)]);
        let files: Vec<&str> = named("env_file")
            .as_array()
            .unwrap()
            .iter()
            .map(|file| file["path"].as_str().unwrap())
            .collect();
        let layers = [".env.secrets", ".env.foundation", ".env.core"];
        assert_eq!(files, layers.map(|name| format!("../environment/{name}")));

        // What the container is told is what the service is told, and it has nothing against it.
        let mut told = variables.clone();
        for (name, value) in named("environment").as_object().unwrap() {
            told.insert(name.clone(), value.as_str().unwrap().to_owned());
        }
        let bind = |end: &str| told.get(&format!("{}_{end}", of.prefix)).unwrap().as_str();
        assert_eq!((bind("HOST"), bind("PORT")), ("0.0.0.0", of.port.to_string().as_str()));
        assert_eq!(told.get("LUCID_DATA_DIR").unwrap(), "/app/data");
        assert_eq!(told.get("BLOCK_MANAGER_URL").unwrap(), "http://block-manager:8086");
        assert_eq!(told["LUCID_TOKENS_FILE"], "/app/access/tokens");
        let tokens = folder.path().join("tokens");
        fs::write(&tokens, "").unwrap();
        told.insert("LUCID_TOKENS_FILE".to_owned(), tokens.display().to_string());
        let (_, warnings) = (of.load)(&told, None).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(warnings, Vec::<String>::new(), "{}", of.name);
        // The back-end of the founding documents is asked for by one word, and says what it wants.
        told.insert("DATA_CHAIN_STORAGE_BACKEND".to_owned(), "mongodb".to_owned());
        let why = (of.load)(&told, None).map(drop).unwrap_err().to_string();
        assert!(
            why.contains("MONGO_URL, MONGODB_URL, or MONGODB_URI environment variable not set"),
            "{why}"
        );
    }
}

#[test]
fn the_foundation_is_a_network_and_a_replica_set_that_is_asked_for() {
    let file = compose("foundation", &variables());
    assert_eq!(file["name"], "lucid-foundation");
    assert_eq!(file["networks"]["lucid-core"]["name"], "lucid-core");
    let services = file["services"].as_object().unwrap();
    assert_eq!(services.keys().collect::<Vec<_>>(), ["mongodb"]);
    let mongodb = &services["mongodb"];
    assert_eq!(texts(&mongodb["profiles"]), ["mongodb"]);
    assert!(texts(&mongodb["command"]).contains(&"--replSet"));
    let health = &mongodb["healthcheck"];
    let times = ["interval", "timeout", "start_period"].map(|name| health[name].as_str().unwrap());
    assert_eq!((times, &health["retries"]), (["30s", "10s", "40s"], &3.into()));
}

#[test]
fn the_files_of_variables_say_nothing_that_no_program_heeds_and_no_secret() {
    let mut ours = BTreeMap::new();
    for name in [".env.foundation", ".env.core", ".env.secrets.example"] {
        let path = root().join("configs/environment").join(name);
        let (read, _) = with_files(Environment::new(), &[path]).unwrap();
        let families = lucid_http::config::FAMILIES;
        assert_eq!(unknown_variables(&read, families), Vec::<String>::new(), "{name}");
        for (variable, value) in &read {
            let is_secret = ["TOKEN", "SECRET", "PASSWORD", "STORE_ID", "_KEY"]
                .iter()
                .any(|part| variable.contains(part));
            assert!(!is_secret || value.is_empty(), "{name}: {variable}");
            assert!(ours.insert(variable.clone(), name).is_none(), "{variable} is in two of them");
        }
    }
    for written in ["DATA_CHAIN_STORE_ID", "BLOCK_MANAGER_STORE_ID", "LUCID_PEER_TOKEN"] {
        assert_eq!(
            ours.get(written),
            Some(&".env.secrets.example"),
            "`lucid init` writes {written}"
        );
    }
    let kept_back = read(".gitignore");
    assert!(kept_back.lines().any(|line| line == "/configs/environment/.env.secrets"));
}

#[test]
fn the_completions_that_packages_have_are_what_the_program_prints() {
    // A package for another machine is made where its program cannot be run.
    for shell in ["bash", "zsh", "fish"] {
        let program = Path::new(env!("CARGO_BIN_EXE_lucid"));
        let folder = program.parent().unwrap();
        let mut asked = std::process::Command::new("sh");
        asked
            .args(["-c", &format!("lucid completions {shell}")])
            .env("PATH", format!("{}:/usr/bin:/bin", folder.display()));
        let printed = String::from_utf8(asked.output().unwrap().stdout).unwrap();
        assert_eq!(read(&format!("packaging/completions/lucid.{shell}")), printed, "{shell}");
    }
}
