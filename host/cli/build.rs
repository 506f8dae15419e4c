//! Puts the sources that `entia new` writes into the binary: the project's template, the SDK and the guest contract.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let variable = |name| {
        env::var_os(name)
            .map(PathBuf::from)
            .ok_or(io::ErrorKind::NotFound)
    };
    let here = variable("CARGO_MANIFEST_DIR")?;
    let root = here.join("../..");
    let mut code = String::new();
    table(&mut code, "TEMPLATE", &here, &["template"])?;
    let sdk = [
        "guest-sdk/Cargo.toml",
        "guest-sdk/src",
        "guest-sdk/macros/Cargo.toml",
        "guest-sdk/macros/src",
        "wit",
    ];
    table(&mut code, "SDK", &root, &sdk)?;
    fs::write(variable("OUT_DIR")?.join("embedded.rs"), code)
}

/// A constant with the path below `base`, slashes between, and the bytes of each file.
fn table(code: &mut String, name: &str, base: &Path, sources: &[&str]) -> io::Result<()> {
    let mut files = Vec::new();
    for source in sources {
        println!("cargo::rerun-if-changed={}", base.join(source).display());
        walk(&base.join(source), source, &mut files)?;
    }
    files.sort();
    let mut lines = String::new();
    for (path, file) in files {
        let file = fs::canonicalize(file)?;
        writeln!(lines, "    ({path:?}, include_bytes!({file:?})),").map_err(io::Error::other)?;
    }
    writeln!(code, "const {name}: &[(&str, &[u8])] = &[\n{lines}];").map_err(io::Error::other)
}

fn walk(path: &Path, name: &str, files: &mut Vec<(String, PathBuf)>) -> io::Result<()> {
    if path.is_file() {
        files.push((name.to_owned(), path.to_owned()));
        return Ok(());
    }
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let inner = format!("{name}/{}", entry.file_name().to_string_lossy());
        walk(&entry.path(), &inner, files)?;
    }
    Ok(())
}
