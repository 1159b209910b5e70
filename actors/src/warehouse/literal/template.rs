//! Templates: sections of the files in `sql/`, each begun by `-- name: Guard`, with slots such as `{schema}`.
//!
//! **Promises** a slot takes [`Sql`] alone; that each section has just the slots that `sql.rs` declares is held by a test
//! over all of them, and that each of these is filled once, by the compiler.
//! **Not here**: the declarations (`sql.rs`).

use super::Sql;

const NAME: &str = "-- name: ";

/// The text of the section of this name, which is looked up when this is compiled: there is one, or it does not compile.
pub(in crate::warehouse) const fn section(file: &'static str, name: &str) -> &'static str {
    let mut at = 0;
    while !(stands(file, at, NAME)
        && stands(file, at + NAME.len(), name)
        && stands(file, at + NAME.len() + name.len(), "\n"))
    {
        at += 1;
        assert!(at < file.len(), "the file has no section of this name");
    }
    let from = at + NAME.len() + name.len() + 1;
    let mut to = from;
    while to < file.len() && !stands(file, to, NAME) {
        to += 1;
    }
    while stands(file, to - 1, "\n") {
        to -= 1;
    }
    file.split_at(to).0.split_at(from).1
}

/// Whether the word stands there.
const fn stands(file: &str, at: usize, word: &str) -> bool {
    let (file, word) = (file.as_bytes(), word.as_bytes());
    let mut n = 0;
    while n < word.len() && at + n < file.len() && file[at + n] == word[n] {
        n += 1;
    }
    n == word.len()
}

/// A template, filled. What a slot takes is indented as the slot's line is, and loses its comment at the head.
pub(in crate::warehouse) fn fill(text: &str, slots: &[(&str, Sql)]) -> Sql {
    let line = |line| if is_comment(line) { str::to_owned(line) } else { filled(line, slots) };
    Sql(text.lines().map(line).collect::<Vec<_>>().join("\0"))
}

/// Names and texts of all sections.
#[cfg(test)]
pub(in crate::warehouse) fn sections(file: &str) -> impl Iterator<Item = (&str, &str)> {
    let sections = file.split(NAME).skip(1).filter_map(|section| section.split_once('\n'));
    sections.map(|(name, text)| (name, text.trim_end()))
}

pub(super) fn is_comment(line: &str) -> bool {
    line.trim_start_matches(' ').starts_with("--")
}

fn filled(line: &str, slots: &[(&str, Sql)]) -> String {
    let indent = &line[..line.len() - line.trim_start().len()];
    let (mut filled, mut rest) = (String::new(), line);
    while let Some((before, slot, after)) = next_slot(rest) {
        let (_, sql) = slots.iter().find(|(name, _)| *name == slot).expect("a test holds slots against declarations");
        filled.push_str(before);
        for (n, line) in sql.body().split('\0').enumerate() {
            if n > 0 {
                filled.extend(["\0", indent]);
            }
            filled.push_str(line);
        }
        rest = after;
    }
    filled + rest
}

/// What stands before the first slot, its name, and what stands behind it.
fn next_slot(text: &str) -> Option<(&str, &str, &str)> {
    text.match_indices('{').find_map(|(at, _)| {
        let (slot, after) = text[at + 1..].split_once('}')?;
        let named = !slot.is_empty() && slot.chars().all(|c| c.is_ascii_lowercase() || c == '_');
        named.then(|| (&text[..at], slot, after))
    })
}

/// What is wrong with a section that is to have these slots.
#[cfg(test)]
pub(in crate::warehouse) fn problems(text: &str, declared: &[&str]) -> Vec<String> {
    let (mut problems, mut found) = (Vec::new(), Vec::new());
    for line in text.lines() {
        let mut rest = line;
        while let Some((_, slot, after)) = next_slot(rest) {
            found.push(slot);
            rest = after;
        }
        let comment = is_comment(line);
        // A line break in a quoted text would be taken for layout, and what is behind a comment would be lost.
        let (quotes, names) = (line.matches('\'').count(), line.matches('"').count());
        if !comment && (quotes % 2 == 1 || names % 2 == 1 || line.contains("--") || line.contains(';')) {
            problems.push(format!("a line that cannot be joined with others: {line}"));
        }
        if comment && next_slot(line).is_some() || line.trim().is_empty() || line.ends_with(' ') || line.contains('\t')
        {
            problems.push(format!("a slot in a comment, an empty line, or a space too many: {line:?}"));
        }
    }
    if text.lines().last().is_none_or(is_comment) {
        problems.push("it ends with a comment".to_owned());
    }
    problems.extend(declared.iter().filter(|slot| !found.contains(slot)).map(|slot| format!("{slot} has no place")));
    problems.extend(found.iter().filter(|slot| !declared.contains(slot)).map(|slot| format!("{slot} is not filled")));
    problems
}
