/work/wt/hostile/tools/deny/target/debug/deps/deny-f69b0f81ca820185.d: src/main.rs

/work/wt/hostile/tools/deny/target/debug/deps/deny-f69b0f81ca820185: src/main.rs

src/main.rs:
