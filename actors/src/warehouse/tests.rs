mod backlog;
mod diff;
mod external;
mod fixture;
mod metadata;
mod pace;
mod statements;
mod templates;
