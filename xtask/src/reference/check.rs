//! Checks of the pages: links without a browser, and the search in one.

use super::Files;
use crate::tools;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

/// Counts the links, all of which must lead to a file and an anchor.
///
/// # Errors
/// The links that lead nowhere.
pub fn links(files: &Files) -> Result<usize, Vec<String>> {
    let ids: BTreeMap<&str, BTreeSet<&str>> = files
        .iter()
        .map(|(name, text)| (name.as_str(), attributes(text, " id=\"").collect()))
        .collect();
    let (mut count, mut broken) = (0, Vec::new());
    for (name, text) in files.iter().filter(|(name, _)| name.ends_with(".html")) {
        let all = attributes(text, " href=\"").chain(attributes(text, " src=\""));
        for link in all.filter(|link| !link.starts_with("data:")) {
            count += 1;
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let file = if file.is_empty() { name } else { file };
            let known = ids.get(file).is_some_and(|ids| anchor.is_empty() || ids.contains(anchor));
            if !known {
                broken.push(format!("{name}: {link}"));
            }
        }
    }
    if broken.is_empty() { Ok(count) } else { Err(broken) }
}

/// Returns the values of an attribute, which stand in quotes.
fn attributes<'t>(text: &'t str, start: &'t str) -> impl Iterator<Item = &'t str> {
    text.split(start).skip(1).filter_map(|rest| rest.split('"').next())
}

/// A query, and a link that its results must have.
const SEARCHES: [(&str, &str); 3] = [
    ("vcpu_info", "xen.h.html#block-vcpu_info"),
    ("EVTCHNOP_unmask", "event_channel.h.html#hypercall-event_channel_op"),
    ("xenstore req_prod", "io-xs_wire.h.html#block-xenstore_domain_interface"),
];

/// Searches in the pages of a folder with Chromium.
///
/// # Errors
/// If Chromium does not run, a page writes to the console, or a result is missing.
pub fn in_browser(folder: &Path) -> Result<(), String> {
    let folder = folder.canonicalize().map_err(|why| format!("{}: {why}", folder.display()))?;
    let profile = tempfile::tempdir().map_err(|why| format!("no folder for a profile: {why}"))?;
    let chromium = tools::CHROMIUM.find().ok_or_else(|| tools::CHROMIUM.missing())?;
    for (query, link) in SEARCHES {
        let query = query.replace(' ', "%20");
        let address = format!("file://{}/index.html#q={query}", folder.display());
        let output = Command::new(&chromium)
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"])
            .args(["--disable-extensions", "--disable-background-networking"])
            .args(["--enable-logging=stderr", "--dump-dom"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg(&address)
            .output()
            .map_err(|why| format!("cannot run chromium: {why}"))?;
        let (page, log) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        if let Some(line) = log.lines().find(|line| line.contains("CONSOLE")) {
            return Err(format!("{address} writes to the console: {line}"));
        }
        if !page.contains(&format!("<li><a href=\"{link}\">")) {
            return Err(format!("{address}: expected a link to {link}, found none\n{log}"));
        }
    }
    Ok(())
}
