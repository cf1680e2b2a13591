//! Rank and size as the program that started this one on many hosts tells them.

use crate::ask::request::UsageError;

/// Environment variables of launchers, the rank's and the size's. Slurm's are last: `mpirun` in a Slurm job hands on
/// those of the job's script.
const LAUNCHERS: [(&str, &str); 4] = [
    ("SQUALL_NODE_RANK", "SQUALL_NODES"),
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
    ("PMI_RANK", "PMI_SIZE"),
    ("SLURM_PROCID", "SLURM_NTASKS"),
];

/// What a launcher told, as far as it did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Launched {
    pub(super) rank: Option<u32>,
    pub(super) nodes: Option<u32>,
}

impl Launched {
    /// From the environment that `variable` reads.
    pub(super) fn of(variable: impl Fn(&str) -> Option<String>) -> Result<Launched, UsageError> {
        let number = |name: &str| {
            let Some(text) = variable(name).filter(|text| !text.is_empty()) else { return Ok(None) };
            let wrong = |_| {
                UsageError(format!("the environment variable {name} is {text:?}, which is no number; unset it, or give --rank and --nodes"))
            };
            text.parse().map(Some).map_err(wrong)
        };
        for (rank, nodes) in LAUNCHERS {
            if let Some(rank) = number(rank)? {
                return Ok(Launched { rank: Some(rank), nodes: number(nodes)? });
            }
        }
        // Slurm's size also stands where it has started no tasks, in the shell of an allocation.
        for (_, nodes) in LAUNCHERS {
            if let Some(nodes) = number(nodes)? {
                return Ok(Launched { rank: None, nodes: Some(nodes) });
            }
        }
        Ok(Launched::default())
    }

    /// The names of all variables, for people.
    pub(super) fn variables() -> String {
        LAUNCHERS.map(|(rank, nodes)| format!("{rank}/{nodes}")).join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(variables: &[(&str, &str)]) -> Result<Launched, UsageError> {
        Launched::of(|name| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn each_launcher_is_understood() {
        for (rank, nodes) in LAUNCHERS {
            assert_eq!(of(&[(rank, "2"), (nodes, "4")]), Ok(Launched { rank: Some(2), nodes: Some(4) }));
        }
        assert_eq!(of(&[]), Ok(Launched::default()));
        assert_eq!(of(&[("SLURM_NTASKS", "8")]), Ok(Launched { rank: None, nodes: Some(8) }));
    }

    #[test]
    fn mpirun_in_a_slurm_job_goes_before_the_job() {
        let nested = [("SLURM_PROCID", "0"), ("SLURM_NTASKS", "1"), ("OMPI_COMM_WORLD_RANK", "3"), ("OMPI_COMM_WORLD_SIZE", "4")];
        assert_eq!(of(&nested), Ok(Launched { rank: Some(3), nodes: Some(4) }));
    }

    #[test]
    fn what_is_no_number_is_named() {
        let error = of(&[("PMI_RANK", "first")]).unwrap_err();
        assert!(error.0.contains("PMI_RANK is \"first\""), "{error}");
    }
}
