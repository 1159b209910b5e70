# The commands of every day; CONTRIBUTING.md says when. Each can be typed as it stands.

_list:
    @just --list --unsorted

# the tests of one crate, in the quick profile: `just quick`, `just quick actors windows`
quick crate="actors" *filter:
    cargo test --profile quick --locked -p {{ if crate == "chaos" { crate } else { "mangrove-" + crate } }} {{ filter }}

# the structural rules: who may name what, and that what CONTRIBUTING.md names exists
tidy:
    cargo test --release --locked -p mangrove-tests --test it -- tidy

# every test, as CI runs them
test:
    cargo test --workspace --release --locked

# formatting and clippy, as CI runs them
lint:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets --release --locked -- -D warnings

# the documentation of all crates, as CI builds it
doc:
    RUSTDOCFLAGS=-Dwarnings cargo doc --workspace --no-deps --release --locked

# licences, bans and sources of dependencies
deny:
    deploy/check --only dependencies_are_allowed

# chart, rules, dashboards, policies, dependencies; each check is shown to fail
check:
    deploy/check

# writes what is generated: pages that a test holds (named `the_page_...`), dashboards, the chart's copies
update:
    UPDATE=1 cargo test --release --locked -p mangrove-actors -p mangrove-supervisor --lib the_page
    deploy/check --update

# whole clusters under faults, a run for each seed
sim seeds="1..200":
    cargo run --release --locked -p chaos -- sim --seeds {{ seeds }}

# all in one process, on a folder
demo *args:
    cargo run --release --locked --bin mangrove -- demo {{ args }}

# all that CI does
ci:
    .ci/run
