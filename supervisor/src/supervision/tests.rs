//! Supervision with real actors. Nothing sleeps for luck: every wait is for an event, with a generous limit.

mod drain;
mod hang;
mod restarts;
mod starts;
mod world;
