mod backlog;
mod diff;
mod fixture;
mod pace;
mod statements;
