//! Random answers for the HTTP client, good, cut off and broken: `fuzz::http`.

fn main() {
    fuzz::for_each_seed("http", &fuzz::Arguments::parse(), fuzz::http::run);
}
