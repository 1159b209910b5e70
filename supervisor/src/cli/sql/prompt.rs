//! The prompt: lines until a semicolon, with a history that outlives it.

use std::path::PathBuf;

use actors::ports::warehouse::Warehouse;
use rustyline::Editor;
use rustyline::config::Builder;
use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use tokio::sync::watch;

use super::print::PrintFormat;
use super::{run, shorthand, split};
use crate::exit::CliError;

const HISTORY_LINES_MAX: usize = 1_000;

/// Runs what is typed until Ctrl-D.
pub(super) async fn start(warehouse: &Warehouse, form: PrintFormat) -> Result<(), CliError> {
    let config =
        Builder::new().max_history_size(HISTORY_LINES_MAX).map_err(CliError::internal)?.auto_add_history(false);
    let mut editor: Editor<(), FileHistory> = Editor::with_config(config.build()).map_err(CliError::environment)?;
    let history = history();
    if let Some(path) = history.as_ref().filter(|path| path.exists())
        && let Err(error) = editor.load_history(path)
    {
        eprintln!("no history: {}: {error}", path.display());
    }
    eprintln!("{}; a statement ends with ;, \\d lists tables, Ctrl-C cancels, Ctrl-D leaves", warehouse.target());
    let mut text = String::new();
    loop {
        let prompt = if text.is_empty() { "mangrove> " } else { "      ... " };
        // Reading blocks its thread.
        let reading = tokio::task::spawn_blocking(move || {
            let line = editor.readline(prompt);
            (editor, line)
        });
        let (back, line) = reading.await.map_err(CliError::internal)?;
        editor = back;
        match line {
            Ok(line) if text.is_empty() && shorthand::is_one(&line) => {
                text = format!("{};\n", line.trim_end_matches(';'))
            }
            Ok(line) => text.push_str(&format!("{line}\n")),
            Err(ReadlineError::Interrupted) => text.clear(),
            Err(ReadlineError::Eof) => break,
            Err(error) => return Err(CliError::environment(format!("the terminal: {error}"))),
        }
        let (statements, rest) = split::whole(&text);
        let rest = if split::statements(rest).is_empty() { String::new() } else { rest.to_owned() };
        for statement in statements {
            editor.add_history_entry(format!("{};", statement.replace('\n', " "))).map_err(CliError::internal)?;
            if let Err(error) = interruptible(warehouse, &statement, form).await {
                eprintln!("{}", super::print::printable(&error.message));
            }
        }
        text = rest;
    }
    if let Some(path) = history {
        keep(&mut editor, &path).unwrap_or_else(|error| eprintln!("history not kept: {}: {error}", path.display()));
    }
    Ok(())
}

/// Ctrl-C ends the statement and not the prompt.
async fn interruptible(warehouse: &Warehouse, statement: &str, form: PrintFormat) -> Result<(), CliError> {
    let (stop, mut stopped) = watch::channel(false);
    let listening = tokio::spawn(async move {
        // Without a handler Ctrl-C ends the process, as everywhere.
        if tokio::signal::ctrl_c().await.is_ok() {
            stop.send_replace(true);
        }
        std::future::pending::<()>().await;
    });
    let ran = run(warehouse, statement, form, &mut stopped).await;
    listening.abort();
    ran
}

/// Where the history lies: `$XDG_STATE_HOME/mangrove/sql_history`, or in `~/.local/state`.
fn history() -> Option<PathBuf> {
    let home = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".local/state"));
    let state =
        std::env::var_os("XDG_STATE_HOME").map(PathBuf::from).filter(|path| path.is_absolute()).or_else(home)?;
    Some(state.join("mangrove/sql_history"))
}

fn keep(editor: &mut Editor<(), FileHistory>, path: &std::path::Path) -> Result<(), String> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(|error| error.to_string())?;
    }
    editor.save_history(path).map_err(|error| error.to_string())
}
