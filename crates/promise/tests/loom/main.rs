//! The model checker: `RUSTFLAGS="--cfg loom" cargo test --release --test loom`. Without that flag there is nothing to
//! run.

#[cfg(loom)]
mod models;

fn main() {
    #[cfg(loom)]
    models::all();
}
