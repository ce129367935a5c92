//! How `include/wasm_engine.h` is made. cbindgen writes the items. This file arranges them for a reader who begins at
//! the top. Handles come first. Then each file of exports has a section with its types before the functions that need
//! them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;
/// A file and a line in it.
type Place = (PathBuf, usize);

/// The files of exports in the order in which a host needs them. Each becomes a section. Its title is the file's name.
/// Its introduction is the first paragraph of the file's docs.
#[rustfmt::skip]
const SECTIONS: &[&str] = &[
    "library", "bytes", "error", "runtime", "thread", "factory", "future", "engine", "transform_many", "transform_records",
    "batch", "task", "promise", "host_function", "policy", "progress", "custom_engine", "schema_registry", "artifact",
    "code_cache", "factory_cache", "metrics", "profile",
];
const EXPORTS: &str = "src/abi";
/// The introduction of the section of handles.
const HANDLES: &str = "\
The opaque types. A host gets pointers to them from the functions below and gives each back to the function that its
comment or section names. `wasm_call` and `wasm_work` are only lent: until the callback returns that received them.";

/// The header of the sources under `root` for `version` of the library.
pub fn generate(root: &Path, version: &str) -> Result<String> {
    let mut config = cbindgen::Config::from_file(root.join("cbindgen.toml"))?;
    let head = config.header.take().ok_or("cbindgen.toml has no header")?;
    let trailer = config.trailer.take().ok_or("cbindgen.toml has no trailer")?;
    let width = config.line_length;
    config.export.include = config.export.rename.values().cloned().collect();
    let mut crates = vec![root.join("src")];
    crates.extend(list(&root.join("crates"))?.into_iter().map(|path| path.join("src")));
    let mut places = BTreeMap::new();
    let mut builder = cbindgen::Builder::new().with_config(config);
    for path in &crates {
        builder = builder.with_src(path.join("lib.rs"));
        find_definitions(path, &mut places)?;
    }
    let mut written = Vec::new();
    builder.generate()?.write(&mut written);

    let items = items(&String::from_utf8(written)?, width, &places)?;
    let mut header = Header { items: &items, done: BTreeSet::new(), handles: String::new(), text: String::new() };
    header.handles += &banner("Handles", HANDLES, width);
    for section in SECTIONS {
        header.add_types(&format!("wasm_{section}"), Item::is_handle);
    }
    for section in SECTIONS {
        let file = root.join(EXPORTS).join(section).with_extension("rs");
        header.text += &banner(section, &introduction(&file)?, width);
        header.section(&file);
    }
    if let Some(lost) = items.iter().find(|item| !header.done.contains(&*item.name)) {
        return Err(format!("{}, of {}, is in no section of the header", lost.name, lost.place.0.display()).into());
    }
    Ok(with_version(head.trim_start(), version)? + "\n" + &header.handles + &header.text + trailer.trim_start())
}

fn with_version(head: &str, version: &str) -> Result<String> {
    let numbers: Vec<u32> = version.split(['.', '-', '+']).take(3).filter_map(|part| part.parse().ok()).collect();
    let [major, minor, patch] = numbers[..] else { return Err(format!("{version} is no version").into()) };
    let number = format!("{:#08x}", major << 16 | minor << 8 | patch);
    let values = [major.to_string(), minor.to_string(), patch.to_string(), number, version.to_owned()];
    let names = ["@MAJOR@", "@MINOR@", "@PATCH@", "@NUMBER@", "@VERSION@"];
    Ok(names.iter().zip(values).fold(head.to_owned(), |text, (name, value)| text.replace(name, &value)))
}

/// A declaration with its comment.
struct Item {
    name: String,
    text: String,
    place: Place,
}

impl Item {
    fn is_handle(&self) -> bool {
        self.text.contains(&format!("typedef struct {0} {0};", self.name))
    }

    fn is_type(&self) -> bool {
        self.text.lines().any(|line| line.starts_with("typedef "))
    }
}

struct Header<'a> {
    items: &'a [Item],
    done: BTreeSet<&'a str>,
    handles: String,
    text: String,
}

impl<'a> Header<'a> {
    /// Adds the items of a file of exports. Types come first. Types of other files that they need come before those.
    fn section(&mut self, file: &Path) {
        let items = self.items;
        let own = || items.iter().filter(|item| item.place.0 == file);
        own().for_each(|item| self.add_types(&item.text, |_| true));
        own().for_each(|item| self.add_flags(&item.text));
        own().for_each(|item| self.add(item));
    }

    fn add(&mut self, item: &'a Item) {
        if self.done.insert(&item.name) {
            self.add_types(&item.text, |_| true);
            let place = if item.is_handle() { &mut self.handles } else { &mut self.text };
            *place += &item.text;
            *place += "\n";
        }
    }

    /// Adds the enums whose numbers are bits of an integer: only comments name them.
    fn add_flags(&mut self, text: &str) {
        let items = self.items;
        let declared =
            |name: &str| items.iter().any(|item| item.name != name && words(&item.text).any(|word| word == name));
        for word in text.lines().filter(|line| is_comment(line)).flat_map(split) {
            let flags = items.iter().filter(|item| item.name == word && item.is_type() && !declared(&item.name));
            flags.for_each(|item| self.add(item));
        }
    }

    /// Adds the types that are named in `text`.
    fn add_types(&mut self, text: &str, wanted: fn(&Item) -> bool) {
        let items = self.items;
        for word in words(text) {
            items
                .iter()
                .filter(|item| item.name == word && item.is_type() && wanted(item))
                .for_each(|item| self.add(item));
        }
    }
}

/// The names in a declaration without those in its comments.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| !is_comment(line)).flat_map(split)
}

fn split(line: &str) -> impl Iterator<Item = &str> {
    line.split(|c: char| c != '_' && !c.is_ascii_alphanumeric())
}

fn is_comment(line: &str) -> bool {
    line.trim_start().starts_with("//")
}

fn banner(section: &str, introduction: &str, width: usize) -> String {
    let rule = "-".repeat(width - "// ".len());
    let title = section[..1].to_uppercase() + &section[1..].replace('_', " ");
    let introduction: String = introduction.lines().map(|line| format!("// {line}\n")).collect();
    format!("// {rule}\n// {title}\n//\n{introduction}// {rule}\n\n")
}

/// The first paragraph of a file's docs.
fn introduction(file: &Path) -> Result<String> {
    let source = std::fs::read_to_string(file).map_err(|e| format!("{}: {e}", file.display()))?;
    Ok(source.lines().map_while(|line| line.strip_prefix("//! ")).collect::<Vec<_>>().join("\n"))
}

/// Splits the output of cbindgen into items. They are in the order of the sources.
fn items(written: &str, width: usize, places: &BTreeMap<String, Place>) -> Result<Vec<Item>> {
    let mut items = Vec::new();
    for chunk in written.split("\n\n").map(str::trim).filter(|chunk| !chunk.is_empty()) {
        let first = chunk.lines().find(|line| !is_comment(line)).unwrap_or_default();
        let names = split(first.split('(').next().unwrap_or_default()).filter(|word| word.starts_with("wasm_"));
        // The name comes last: before it a function has its result and a handle the same name.
        let name = names.last().ok_or_else(|| format!("no name in: {chunk}"))?.to_owned();
        let place = places.get(&name).ok_or_else(|| format!("{name} is not in the sources"))?.clone();
        items.push(Item { text: tidy(chunk, &name, width), name, place });
    }
    items.sort_by(|a, b| a.place.cmp(&b.place));
    Ok(items)
}

/// Removes what cbindgen adds to enums for C23 and the word `struct` before types. Breaks long lines.
fn tidy(chunk: &str, name: &str, width: usize) -> String {
    let is_enum = chunk.lines().any(|line| line.starts_with("enum "));
    let mut text = String::new();
    for line in chunk.lines() {
        text += &match line {
            _ if is_comment(line) || line.starts_with("typedef ") => line.to_owned(),
            "};" if is_enum => return text + &format!("}} {name};\n"),
            _ if line.starts_with("enum ") => format!("typedef {line} WASM_ENGINE_ENUM_TYPE {{"),
            " {" | "  : uint32_t" => continue,
            _ if line.starts_with('#') => continue,
            _ => wrap(&line.replace("struct wasm_", "wasm_").replace("union wasm_", "wasm_"), width),
        };
        text += "\n";
    }
    text
}

/// A function that does not fit into a line gets a line for each argument.
fn wrap(line: &str, width: usize) -> String {
    match line.rfind('(') {
        Some(start) if line.len() > width => line.replace(", ", &format!(",\n{}", " ".repeat(start + 1))),
        _ => line.to_owned(),
    }
}

/// Finds where each name that C may see is defined.
fn find_definitions(directory: &Path, places: &mut BTreeMap<String, Place>) -> Result<()> {
    for path in list(directory)? {
        if path.is_dir() {
            find_definitions(&path, places)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            for (number, line) in std::fs::read_to_string(&path)?.lines().enumerate() {
                let keywords = ["struct ", "enum ", "union ", "unsafe extern \"C\" fn ", "extern \"C\" fn "];
                let public = line.strip_prefix("pub ");
                let rest = public.and_then(|rest| keywords.iter().find_map(|keyword| rest.strip_prefix(keyword)));
                if let Some(name) = rest.and_then(|rest| split(rest).next()) {
                    places.entry(name.to_owned()).or_insert((path.clone(), number));
                }
            }
        }
    }
    Ok(())
}

/// The entries of a directory in the order of names. Empty if there is no directory.
fn list(directory: &Path) -> Result<Vec<PathBuf>> {
    if !directory.exists() {
        return Ok(Vec::new());
    }
    let mut paths = std::fs::read_dir(directory)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}
