//! Compiles the `.proto` files. Needs `protoc` (Debian: protobuf-compiler).

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    let mut config = prost_build::Config::new();
    config.bytes(["."]);
    config.compile_protos(
        &[
            "proto/catalog.proto",
            "proto/door.proto",
            "proto/plan.proto",
            "proto/queue.proto",
            "proto/shuffle.proto",
            "proto/table.proto",
            "proto/upload.proto",
            "proto/wire.proto",
            "proto/write.proto",
        ],
        &["proto"],
    )?;
    Ok(())
}
