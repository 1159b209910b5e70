mod backlog;
mod diff;
mod fixture;
mod metadata;
mod pace;
mod statements;
