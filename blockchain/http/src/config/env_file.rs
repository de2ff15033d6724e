//! Files with a variable a line, as container tools read them: what they say counts where the environment of the
//! process says nothing, and of several files the later one wins.
//!
//! `NAME=value`, or `export NAME=value`; a value in single quotes is taken as it stands, in double quotes `\n`, `\t`,
//! `\"`, `\\` and `\$` stand for what they usually do, and without quotes it ends before ` #`. In the last two,
//! `${NAME}`, `${NAME:default}` and `${NAME:-default}` are put in, as in the YAML file: from the environment, the
//! lines above, and the files before.
//!
//! It is read here, and not by a library, so that `${}` means one thing in every file of ours, and no message shows a
//! line, which may hold a secret.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::file::{substitute, text};
use super::{ConfigError, Environment, Mistake};

/// Which file says the value of a variable.
pub type Origins = BTreeMap<String, PathBuf>;

/// Puts what the files say beside what the environment does. Every mistake in them is told.
pub fn with_files(
    environment: Environment,
    files: &[PathBuf],
) -> Result<(Environment, Origins), ConfigError> {
    let (mut all, mut origins, mut mistakes) = (environment.clone(), Origins::new(), Vec::new());
    let is_set = |name: &String| environment.get(name).is_some_and(|value| !value.is_empty());
    for file in files {
        for outcome in read(file, &mut all, is_set) {
            match outcome {
                Ok(name) => drop(origins.insert(name, file.clone())),
                Err(what) => mistakes.push(Mistake::Other(what)),
            }
        }
    }
    if mistakes.is_empty() { Ok((all, origins)) } else { Err(ConfigError { mistakes }) }
}

/// Puts in what one file says; the names that it said, and what is wrong with it.
fn read(
    path: &Path,
    all: &mut Environment,
    is_set: impl Fn(&String) -> bool,
) -> Vec<Result<String, String>> {
    let named = format!("environment file {}", path.display());
    let text = match text(path) {
        Ok(text) => text,
        Err(what) => return vec![Err(format!("{named}: {what}"))],
    };
    let mut said = Vec::new();
    for (number, line) in (1..).zip(text.strip_prefix('\u{feff}').unwrap_or(&text).lines()) {
        match variable(line, all) {
            Ok(None) => {}
            Ok(Some((name, _))) if is_set(&name) => {}
            Ok(Some((name, value))) => {
                all.insert(name.clone(), value);
                said.push(Ok(name));
            }
            Err(what) => said.push(Err(format!("{named}, line {number}: {what}"))),
        }
    }
    said
}

/// The variable of a line, if there is one.
fn variable(line: &str, so_far: &Environment) -> Result<Option<(String, String)>, String> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let line = line.strip_prefix("export ").unwrap_or(line);
    let (name, value) = line.split_once('=').ok_or("NAME=value is wanted")?;
    let name = name.trim();
    let is_start = |first: char| first.is_ascii_alphabetic() || first == '_';
    let is_rest = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    if !name.starts_with(is_start) || !name.chars().all(is_rest) {
        return Err("a name has letters, digits and _, and begins with no digit".to_owned());
    }
    let value = value.trim_start();
    let value = if let Some(quoted) = value.strip_prefix('\'') {
        let (value, rest) = quoted.split_once('\'').ok_or("a quote has no end in its line")?;
        nothing_but_a_comment(rest)?;
        value.to_owned()
    } else if let Some(quoted) = value.strip_prefix('"') {
        in_double_quotes(quoted, so_far)?
    } else {
        let end = match value.starts_with('#') {
            true => 0,
            false => value.find(" #").or_else(|| value.find("\t#")).unwrap_or(value.len()),
        };
        substitute(value.get(..end).unwrap_or_default().trim_end(), so_far)?
    };
    Ok(Some((name.to_owned(), value)))
}

/// What stands between double quotes; `rest` is behind the first.
fn in_double_quotes(rest: &str, so_far: &Environment) -> Result<String, String> {
    // What an escape stands for is no beginning of `${}`, so both are looked for in one go.
    let (mut value, mut plain) = (String::new(), String::new());
    let mut letters = rest.chars();
    loop {
        match letters.next().ok_or("a quote has no end in its line")? {
            '"' => break,
            '\\' => {
                value.push_str(&substitute(&std::mem::take(&mut plain), so_far)?);
                value.push(match letters.next() {
                    Some('n') => '\n',
                    Some('t') => '\t',
                    Some(letter @ ('"' | '\\' | '$')) => letter,
                    _ => return Err(r#"behind \ stands one of n, t, ", \ and $"#.to_owned()),
                });
            }
            letter => plain.push(letter),
        }
    }
    nothing_but_a_comment(letters.as_str())?;
    value.push_str(&substitute(&plain, so_far)?);
    Ok(value)
}

fn nothing_but_a_comment(rest: &str) -> Result<(), String> {
    let rest = rest.trim_start();
    match rest.is_empty() || rest.starts_with('#') {
        true => Ok(()),
        false => Err("something stands behind the closing quote".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(pairs: &[(&str, &str)]) -> Environment {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn lines_are_read_as_container_tools_do() {
        let so_far = environment(&[("A", "1"), ("E", "")]);
        for (line, wanted) in [
            ("", None),
            ("  # comment", None),
            ("N=", Some("")),
            ("export N = v ", Some("v")),
            ("N=a b # not this", Some("a b")),
            ("N=a#b", Some("a#b")),
            ("N=#nothing", Some("")),
            ("N=${A}/${B:-x}/${B:y}/${E:-z}", Some("1/x/y/z")),
            ("N=$A", Some("$A")),
            ("N='${A} \"' # c", Some("${A} \"")),
            (r#"N="a ${A} # \"\\\n\${A}""#, Some("a 1 # \"\\\n${A}")),
            ("N=a=b", Some("a=b")),
        ] {
            let read = variable(line, &so_far).unwrap().map(|(name, value)| {
                assert_eq!(name, "N");
                value
            });
            assert_eq!(read.as_deref(), wanted, "{line}");
        }
        for (line, wanted) in [
            ("N", "NAME=value"),
            ("1N=x", "begins with no digit"),
            ("N N=x", "begins with no digit"),
            ("=x", "begins with no digit"),
            ("N='x", "no end"),
            ("N=\"x", "no end"),
            ("N=\"x\\", "behind \\"),
            ("N=\"\\q\"", "behind \\"),
            ("N='x' y", "behind the closing quote"),
            ("N=${B}", "variable B is not set"),
            ("N=${A", "${ without }"),
        ] {
            let why = variable(line, &so_far).unwrap_err();
            assert!(why.contains(wanted), "{line}: {why}");
        }
    }

    #[test]
    fn the_process_wins_over_files_and_a_later_file_over_an_earlier() {
        let folder = tempfile::tempdir().unwrap();
        let (first, second) = (folder.path().join("first"), folder.path().join("second"));
        std::fs::write(&first, "\u{feff}A=first\r\nB=first\nC=first\nD=first\n").unwrap();
        std::fs::write(&second, "B=second\nC=${B}-${A}\n").unwrap();
        let files = [first.clone(), second.clone()];
        let given = environment(&[("A", "process"), ("D", "")]);
        let (all, origins) = with_files(given, &files).unwrap();
        let wanted = [("A", "process"), ("B", "second"), ("C", "second-process"), ("D", "first")];
        assert_eq!(all, environment(&wanted));
        let of = |name: &str| origins.get(name);
        assert_eq!((of("A"), of("C"), of("D")), (None, Some(&second), Some(&first)));
    }

    #[test]
    fn every_mistake_is_told_with_its_place_and_without_its_line() {
        let folder = tempfile::tempdir().unwrap();
        let (wrong, missing) = (folder.path().join("wrong"), folder.path().join("missing"));
        std::fs::write(&wrong, "A=1\nSECRET='hunter2\nB\n").unwrap();
        let error = with_files(Environment::new(), &[wrong, missing]).unwrap_err().to_string();
        assert!(error.contains("wrong, line 2: a quote"), "{error}");
        assert!(error.contains("wrong, line 3: NAME=value"), "{error}");
        assert!(error.contains("missing: No such file"), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
}
