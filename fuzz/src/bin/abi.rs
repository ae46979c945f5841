//! Random sequences of calls of the C interface.

fn main() {
    let arguments = fuzz::Arguments::parse();
    fuzz::for_each_seed("abi", &arguments, |seed| {
        let _ = fuzz::Rng::new(seed);
    });
}
