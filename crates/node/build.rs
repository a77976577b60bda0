//! Sets the linker flags for Node-API, whose symbols Node provides at run time.

fn main() {
    napi_build::setup();
}
