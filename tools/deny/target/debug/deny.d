/work/wt/hostile/tools/deny/target/debug/deny: /work/wt/hostile/tools/deny/src/main.rs
