//! Where a statement ends: at a semicolon that is in no literal, no quoted name and no comment.

/// The statements of a text, without their semicolons; what has none at its end is one too.
pub(super) fn statements(text: &str) -> Vec<String> {
    let (mut found, rest) = whole(text);
    if !is_blank(rest) {
        found.push(rest.trim().to_owned());
    }
    found
}

/// The statements that end with a semicolon, and what follows the last of them.
pub(super) fn whole(text: &str) -> (Vec<String>, &str) {
    let (mut found, mut from) = (Vec::new(), 0);
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let rest = &text[at..];
        at += match bytes[at] {
            quote @ (b'\'' | b'"') => quoted(rest.as_bytes(), quote),
            b'-' if rest.starts_with("--") => rest.find('\n').unwrap_or(rest.len()),
            b'/' if rest.starts_with("/*") => commented(rest.as_bytes()),
            b';' => {
                if !is_blank(&text[from..at]) {
                    found.push(text[from..at].trim().to_owned());
                }
                from = at + 1;
                1
            }
            _ => rest.chars().next().map_or(1, char::len_utf8),
        };
    }
    (found, &text[from..])
}

/// The length of what stands in quotes. In a literal a backslash escapes, as in Redshift.
fn quoted(text: &[u8], quote: u8) -> usize {
    let mut at = 1;
    while at < text.len() {
        match text[at] {
            b'\\' if quote == b'\'' => at += 1,
            byte if byte == quote => return at + 1,
            _ => {}
        }
        at += 1;
    }
    text.len()
}

/// The length of a comment, with those inside it.
fn commented(text: &[u8]) -> usize {
    let (mut at, mut depth) = (0, 0);
    while at + 1 < text.len() {
        match &text[at..at + 2] {
            b"/*" => depth += 1,
            b"*/" => depth -= 1,
            _ => {
                at += 1;
                continue;
            }
        }
        at += 2;
        if depth == 0 {
            return at;
        }
    }
    text.len()
}

/// Nothing but space and comments.
fn is_blank(text: &str) -> bool {
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let n = match rest {
            _ if rest.starts_with("--") => rest.find('\n').unwrap_or(rest.len()),
            _ if rest.starts_with("/*") => commented(rest.as_bytes()),
            _ => return false,
        };
        rest = rest[n..].trim_start();
    }
    true
}
