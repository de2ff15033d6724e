//! The file of secrets that `--env-file` of the services reads: what it says, and what is added to it.

use std::path::{Path, PathBuf};

use lucid_http::config::{Environment, with_files};
use lucid_store::files::folder::change_aside;

use crate::cmd::config::sound;

const HEAD: &str = "\
# Written by `lucid init`, for --env-file of lucid-data-chain, lucid-block-manager and `lucid up`. It holds a secret.
";

/// What a file of secrets says.
pub(super) struct Secrets {
    /// Where it is.
    pub(super) file: PathBuf,
    said: Environment,
}

impl Secrets {
    /// Reads it, if it is there. A link is followed, so that what it leads to is what is added to.
    pub(super) fn read(file: &Path) -> anyhow::Result<Self> {
        let file = match file.try_exists()? {
            true => file.canonicalize()?,
            false => std::path::absolute(file)?,
        };
        let said = match file.exists() {
            true => sound(with_files(Environment::new(), std::slice::from_ref(&file)))?.0,
            false => Environment::new(),
        };
        Ok(Self { file, said })
    }

    /// What it says of a variable, if anything.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.said.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// Adds variables that it says nothing of; the others stay as they are.
    pub(super) fn add(&self, variables: &[(&'static str, String)]) -> anyhow::Result<()> {
        if variables.is_empty() {
            return Ok(());
        }
        let folder = self.file.parent().unwrap_or(Path::new("/"));
        let name = self.file.file_name().and_then(|name| name.to_str());
        let Some(name) = name else { anyhow::bail!("{} names no file", self.file.display()) };
        change_aside(folder, name, |old| {
            let mut text = String::from_utf8(old.unwrap_or_else(|| HEAD.into()))?;
            if !text.is_empty() && !text.ends_with('\n') {
                text.push('\n');
            }
            for (name, value) in variables {
                text.push_str(&line(name, value)?);
            }
            anyhow::Ok(Some(text.into_bytes()))
        })
    }
}

/// A line with a variable. Some programs that read such files take quotes for a part of the value, so there are none
/// where none are needed.
fn line(name: &str, value: &str) -> anyhow::Result<String> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+:=@%,~".contains(&byte);
    anyhow::ensure!(
        !value.contains(['\'', '\n']),
        "{value:?} cannot stand in a file of variables: name a path without quotes and line breaks"
    );
    Ok(match value.bytes().all(is_plain) {
        true => format!("{name}={value}\n"),
        false => format!("{name}='{value}'\n"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_added_is_read_back_and_what_is_there_stays() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("secrets");
        std::fs::write(&file, "# mine\nMINE=1\nEMPTY=").unwrap();
        let secrets = Secrets::read(&file).unwrap();
        assert_eq!((secrets.get("MINE"), secrets.get("EMPTY")), (Some("1"), None));
        let path = "/with blanks/${HOME} # and signs";
        secrets.add(&[("A", "a-1_=/".to_owned()), ("B", path.to_owned())]).unwrap();
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.starts_with("# mine\nMINE=1\nEMPTY=\nA=a-1_=/\nB='"), "{text}");
        let again = Secrets::read(&file).unwrap();
        assert_eq!((again.get("A"), again.get("B")), (Some("a-1_=/"), Some(path)));
        assert!(secrets.add(&[("C", "it's".to_owned())]).is_err());
        assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
    }
}
