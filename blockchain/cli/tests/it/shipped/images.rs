//! Dockerfiles, what they are given, and the scripts that build with them, held to the container design.

use std::process::Command;

use lucid_http::config::Environment;

use super::{SERVICES, read, root};

/// The instructions of a Dockerfile, each in one line, without comments.
fn instructions(path: &str) -> Vec<String> {
    let text = read(path);
    let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
    let joined = lines.collect::<Vec<_>>().join("\n").replace("\\\n", " ");
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    joined.lines().map(words).filter(|line| !line.is_empty()).collect()
}

#[test]
fn both_images_are_made_as_the_container_design_says() {
    let version = env!("CARGO_PKG_VERSION");
    let mut builders = Vec::new();
    for of in &SERVICES {
        let lines = instructions(of.dockerfile);
        let program = format!("/app/bin/lucid-{}", of.name);
        let has = |line: &str| {
            assert!(lines.iter().any(|other| other == line), "{}: {line}\n{lines:#?}", of.name)
        };
        let stages: Vec<usize> =
            (0..lines.len()).filter(|at| lines[*at].starts_with("FROM ")).collect();
        let [first, second] = stages[..] else { panic!("{} stages", stages.len()) };
        assert_eq!(
            lines[first],
            "FROM --platform=$BUILDPLATFORM rust:${RUST_VERSION}-slim-bookworm AS builder"
        );
        assert_eq!(
            lines[second],
            "FROM --platform=$TARGETPLATFORM gcr.io/distroless/cc-debian12:nonroot"
        );
        let (builder, runtime) = (&lines[first..second], &lines[second + 1..]);
        builders.push((lines[..first].to_vec(), builder.to_vec()));

        // Arguments stand before the first stage, and are named again in each that has them.
        for argument in
            ["VERSION", "VCS_REF", "BUILD_DATE", "BUILDPLATFORM", "TARGETPLATFORM", "RUST_VERSION"]
        {
            let is_it = |line: &&String| {
                line.strip_prefix("ARG ").and_then(|rest| rest.split('=').next()) == Some(argument)
            };
            assert!(lines[..first].iter().any(|line| is_it(&line)), "{argument}");
        }
        has(&format!("ARG VERSION={version}"));
        has("ARG RUST_VERSION=1.95");
        for argument in ["VERSION", "VCS_REF", "BUILD_DATE", "TARGETPLATFORM"] {
            assert!(runtime.contains(&format!("ARG {argument}")), "{argument}");
        }

        // What is looked at before the image is made of it.
        let built = builder.join("\n");
        for part in [
            "cargo build --release --locked",
            "--mount=type=cache,target=/usr/local/cargo/registry",
            "apt-get update --allow-releaseinfo-change",
            "--no-install-recommends",
            "rm -rf /var/lib/apt/lists/*",
            "DEBIAN_FRONTEND=noninteractive",
            "CARGO_INCREMENTAL=0",
            "readelf -h",
            "GLIBC_2.36",
            "test -x",
            "test -s",
            "selftest --marker",
            "_RUNTIME_DIRECTORY",
            "_LIB_DIRECTORY",
            "_PACKAGES_INSTALLED_$(date +%s)",
            "_BINARIES_INSTALLED_$(date +%s)",
            "LUCID_COMMIT=\"$VCS_REF\"",
        ] {
            assert!(built.contains(part), "{}: {part}", of.name);
        }

        // What runs: one program by its absolute path, no shell, no root, nothing but what was looked at.
        for line in runtime.iter().filter(|line| line.starts_with("COPY ")) {
            assert!(line.starts_with("COPY --from=builder --chown=65532:65532 "), "{line}");
            let from = line.split(' ').nth(3).unwrap();
            let is_own = from.starts_with(&format!("/out/{}/", of.name));
            assert!(is_own || from == "/etc/ssl/certs/ca-certificates.crt", "{line}");
        }
        for line in runtime {
            let word = line.split(' ').next().unwrap();
            let may = [
                "ARG",
                "LABEL",
                "COPY",
                "ENV",
                "WORKDIR",
                "USER",
                "RUN",
                "VOLUME",
                "EXPOSE",
                "HEALTHCHECK",
                "ENTRYPOINT",
                "CMD",
            ];
            assert!(may.contains(&word), "{line}");
            let is_json = line.starts_with(&format!("RUN [\"{program}\""));
            assert!(word != "RUN" || is_json, "there is no shell for {line}");
        }
        has("USER 65532:65532");
        has(&format!("EXPOSE {}", of.port));
        has("ENTRYPOINT []");
        has(&format!("CMD [\"{program}\"]"));
        has(&format!(
            "RUN [\"{program}\", \"selftest\", \"--marker\", \"/app/bin/.lucid-marker\", \"--scratch\", \"/tmp\"]"
        ));
        has(&format!(
            "HEALTHCHECK --interval=30s --timeout=10s --start-period=40s --retries=3 CMD [\"{program}\", \"healthcheck\"]"
        ));
        let labels = lines.iter().find(|line| line.starts_with("LABEL ")).unwrap();
        for label in [
            "maintainer=\"Lucid Development Team\"".to_owned(),
            format!("org.opencontainers.image.title=\"{}\"", of.title),
            "org.opencontainers.image.version=\"$VERSION\"".to_owned(),
            "org.opencontainers.image.revision=\"$VCS_REF\"".to_owned(),
            "org.opencontainers.image.created=\"$BUILD_DATE\"".to_owned(),
            format!("com.lucid.service=\"{}\"", of.name),
            "com.lucid.cluster=\"core\"".to_owned(),
            "com.lucid.security=\"distroless\"".to_owned(),
        ] {
            assert!(labels.contains(&label), "{}: {label}", of.name);
        }
        let environment = runtime.iter().find(|line| line.starts_with("ENV ")).unwrap();
        let pairs: Environment = environment[4..]
            .split(' ')
            .map(|pair| pair.split_once('=').unwrap())
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        assert_eq!(pairs[&format!("{}_PORT", of.prefix)], of.port.to_string());
        assert_eq!(pairs[&format!("{}_HOST", of.prefix)], "0.0.0.0");
        assert_eq!(pairs["LUCID_DATA_DIR"], "/app/data");
        assert!(pairs["LANG"] == "C.UTF-8" && pairs["LC_ALL"] == "C.UTF-8");
        // Such an address is listened on with credentials, or where nobody is asked for them.
        let why = (of.load)(&pairs, None).map(drop).unwrap_err().to_string();
        assert!(why.contains("no credentials are configured"), "{why}");
        let open = pairs.into_iter().chain([("LUCID_AUTH".to_owned(), "off".to_owned())]).collect();
        (of.load)(&open, None).unwrap_or_else(|error| panic!("{error}"));

        let all = read(of.dockerfile);
        for never in [
            "curl",
            "wget",
            "--allow-unauthenticated",
            "EXPOSE 22",
            "LUCID_PEER_TOKEN",
            "block-manager:8086",
        ] {
            assert!(!all.contains(never), "{}: {never}", of.name);
        }
    }
    assert_eq!(builders[0], builders[1], "both images come of one stage");
}

#[test]
fn what_the_builder_copies_is_in_its_context_and_nothing_else_is() {
    let ignored = read(".dockerignore");
    let wanted: Vec<&str> = ignored.lines().filter_map(|line| line.strip_prefix('!')).collect();
    let mut copied = Vec::new();
    for line in instructions(SERVICES[0].dockerfile) {
        let Some(words) = line.strip_prefix("COPY ").filter(|line| !line.starts_with("--from"))
        else {
            continue;
        };
        let words: Vec<&str> = words.split(' ').collect();
        copied.extend(
            words[..words.len() - 1].iter().map(|from| from.trim_end_matches('/').to_owned()),
        );
    }
    assert_eq!(copied, wanted);
    assert_eq!(ignored.lines().find(|line| !line.starts_with('#')), Some("*"));
    for from in &copied {
        assert!(root().join(from).exists(), "{from} is not there");
    }
    // Every member of the workspace is among them, or cargo would not begin.
    let manifest = read("Cargo.toml");
    let (_, members) = manifest.split_once("members = [").unwrap();
    let (members, _) = members.split_once(']').unwrap();
    for member in members
        .split(',')
        .map(|member| member.trim().trim_matches('"'))
        .filter(|member| !member.is_empty())
    {
        assert!(
            copied.iter().any(|from| member.starts_with(from.as_str())),
            "{member} is not copied"
        );
    }
}

#[test]
fn the_build_scripts_build_those_images_and_write_no_file() {
    assert!(
        !read("scripts/core/build-image.sh").contains("<<"),
        "no file is made of a text in the script"
    );
    for of in &SERVICES {
        let script = root().join(format!("scripts/core/build-{}.sh", of.name));
        // A builder that says what it is asked for.
        let built = |words: &[&str]| {
            let mut script = Command::new(&script);
            let done = script.env("BUILDER", "echo").args(words).output().unwrap();
            (done.status.code(), String::from_utf8(done.stdout).unwrap())
        };
        let image = format!("pickme/lucid-{}:latest-arm64", of.name);
        let (code, said) = built(&["--push"]);
        assert_eq!(code, Some(0), "{said}");
        assert!(
            said.contains("\nbuild --no-cache --platform linux/arm64 --build-arg VERSION="),
            "{said}"
        );
        assert!(
            said.contains(&format!(" -f {} -t {image} .\npush {image}\n", of.dockerfile)),
            "{said}"
        );
        assert!(said.ends_with(&format!("{image} built and pushed successfully\n")), "{said}");
        let (code, said) = built(&[]);
        assert!(code == Some(0) && !said.contains("push"), "{said}");
        assert_eq!(built(&["--pull"]).0, Some(64));
    }
}
