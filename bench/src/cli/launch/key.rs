//! The cluster key of a run: named, in the environment, or the user's own, which is made when it is first needed.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use squall_transport::exchange::ClusterKey;

use crate::ask::request::UsageError;
use crate::jobs::job::KEY_VARIABLE;

/// The cluster's key: out of the file, or of the environment.
pub(in crate::cli) fn cluster_key(file: Option<&Path>) -> anyhow::Result<ClusterKey> {
    if let Some(key) = named_key(file)? {
        return Ok(key);
    }
    let mend =
        "make one with `squall node --new-key FILE`, copy it to every host, and give it as --key-file FILE (or its text in SQUALL_KEY)";
    Err(UsageError(format!("no cluster key, with which the hosts authenticate each other; {mend}")).into())
}

/// The key of a job, whose tasks were all started alike: without one that is named, the user's own in the home folder,
/// which hosts of a cluster mostly share.
pub(in crate::cli) fn key_of_job(file: Option<&Path>) -> anyhow::Result<ClusterKey> {
    match named_key(file)? {
        Some(key) => Ok(key),
        None => users_key(&users_file()?),
    }
}

fn named_key(file: Option<&Path>) -> anyhow::Result<Option<ClusterKey>> {
    if let Some(path) = file {
        return Ok(Some(ClusterKey::from_file(path)?));
    }
    match std::env::var(KEY_VARIABLE) {
        Ok(text) => ClusterKey::from_hex(&text).map(Some).with_context(|| format!("the environment variable {KEY_VARIABLE}")),
        Err(_) => Ok(None),
    }
}

fn users_file() -> anyhow::Result<PathBuf> {
    let folder = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let Some(folder) = folder("XDG_CONFIG_HOME").or_else(|| folder("HOME").map(|home| home.join(".config"))) else {
        bail!("no home folder to keep a cluster key in: set HOME, or give --key-file FILE (or the key itself in {KEY_VARIABLE})");
    };
    Ok(folder.join("squall/key"))
}

/// The key in `path`. Of tasks that make it at the same time one is first, and all take its key.
fn users_key(path: &Path) -> anyhow::Result<ClusterKey> {
    if let Some(folder) = path.parent().filter(|_| !path.exists()) {
        fs::create_dir_all(folder).with_context(|| format!("a folder for the cluster key, {}", folder.display()))?;
        let draft = folder.join(format!("key.{}", &ClusterKey::random().to_hex()[..16]));
        ClusterKey::random().write_new(&draft)?;
        let placed = fs::hard_link(&draft, path);
        // It is only a draft; what matters is the key.
        let _ = fs::remove_file(&draft);
        if let Err(error) = placed
            && error.kind() != io::ErrorKind::AlreadyExists
        {
            return Err(error).with_context(|| format!("the cluster key {}", path.display()));
        }
    }
    Ok(ClusterKey::from_file(path)?)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::os::unix::fs::PermissionsExt;
    use std::thread;

    use super::*;

    #[test]
    fn tasks_that_begin_together_take_one_key() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join(".config/squall/key");
        let take = || users_key(&path).unwrap().to_hex();
        let keys: BTreeSet<String> = thread::scope(|scope| {
            let tasks: Vec<_> = (0..8).map(|_| scope.spawn(take)).collect();
            tasks.into_iter().map(|task| task.join().unwrap()).collect()
        });
        assert_eq!(keys.len(), 1);
        assert_eq!(keys, [take()].into(), "it stays");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "no drafts are left");
    }
}
