//! Which plugin needs which, and so which starts first.

use std::collections::BTreeMap;

use plugin_contract::{Dependency, Manifest, PluginId};
use semver::Version;

use crate::{CoreError, DependencyProblem};

/// Longest chain of dependencies.
const DEPTH_MAX: usize = 100;

/// A plugin, as far as dependencies go.
#[derive(Debug, Clone, Copy)]
pub struct Node<'a> {
    /// Its name.
    pub name: &'a PluginId,
    /// Its version.
    pub version: &'a Version,
    /// What it needs.
    pub dependencies: &'a BTreeMap<PluginId, Dependency>,
}

impl<'a> Node<'a> {
    /// What a manifest says.
    pub fn of(manifest: &'a Manifest) -> Self {
        Self {
            name: &manifest.plugin.name,
            version: &manifest.plugin.version,
            dependencies: &manifest.dependencies,
        }
    }
}

/// In which order to start plugins. Numbers are places in the list that was asked about.
#[derive(Debug)]
pub struct StartPlan {
    /// Each after all that it needs. Stop in reverse.
    pub order: Vec<usize>,
    /// For each plugin, what satisfies its dependencies: the newest version that fits.
    pub satisfied_by: Vec<BTreeMap<PluginId, usize>>,
    /// Those that cannot be started, and why.
    pub refused: Vec<(usize, CoreError)>,
}

impl StartPlan {
    /// The same order in waves: each plugin is in a later wave than all that it needs.
    pub fn waves(&self) -> Vec<Vec<usize>> {
        let mut wave_of = vec![0; self.satisfied_by.len()];
        let mut waves: Vec<Vec<usize>> = Vec::new();
        for &at in &self.order {
            let needs = self.satisfied_by[at].values();
            let wave = needs.map(|needs| wave_of[*needs] + 1).max().unwrap_or(0);
            wave_of[at] = wave;
            waves.resize(waves.len().max(wave + 1), Vec::new());
            waves[wave].push(at);
        }
        waves
    }
}

/// Orders `nodes` by their dependencies. What cannot be satisfied, and what needs it, is refused; all
/// others are in the order.
pub fn start_plan(nodes: &[Node<'_>]) -> StartPlan {
    let mut search = Search {
        nodes,
        state: vec![State::New; nodes.len()],
        path: Vec::new(),
        plan: StartPlan {
            order: Vec::new(),
            satisfied_by: vec![BTreeMap::new(); nodes.len()],
            refused: Vec::new(),
        },
    };
    for node in 0..nodes.len() {
        search.visit(node);
    }
    search.plan
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    New,
    Open,
    Started,
    Refused,
}

struct Search<'a> {
    nodes: &'a [Node<'a>],
    state: Vec<State>,
    /// The plugins that wait for the current one.
    path: Vec<usize>,
    plan: StartPlan,
}

impl Search<'_> {
    fn visit(&mut self, at: usize) {
        if self.state[at] != State::New {
            return;
        }
        self.state[at] = State::Open;
        self.path.push(at);
        let refusal = match self.path.len() > DEPTH_MAX {
            // What a directory holds must not be able to use up the stack.
            true => Some(CoreError::DependencyTooDeep {
                plugin: self.nodes[at].name.clone(),
                depth_max: DEPTH_MAX,
            }),
            false => self.satisfy(at).err(),
        };
        self.path.pop();
        match refusal {
            None => {
                self.state[at] = State::Started;
                self.plan.order.push(at);
            }
            Some(error) => {
                self.state[at] = State::Refused;
                self.plan.refused.push((at, error));
            }
        }
    }

    fn satisfy(&mut self, at: usize) -> Result<(), CoreError> {
        let node = self.nodes[at];
        for (needs, Dependency { version: wanted, .. }) in node.dependencies {
            let problem = |problem| CoreError::Dependency {
                plugin: node.name.clone(),
                needs: needs.clone(),
                wanted: wanted.clone(),
                problem,
            };
            let named = (0..self.nodes.len()).filter(|other| self.nodes[*other].name == needs);
            let Some(found) = named
                .clone()
                .filter(|other| wanted.matches(self.nodes[*other].version))
                .max_by_key(|other| self.nodes[*other].version)
            else {
                let others: Vec<Version> =
                    named.map(|other| self.nodes[other].version.clone()).collect();
                return Err(problem(match others.is_empty() {
                    true => DependencyProblem::Missing,
                    false => DependencyProblem::OtherVersions(others),
                }));
            };
            if self.state[found] == State::Open {
                return Err(self.circle(found));
            }
            self.visit(found);
            if self.state[found] != State::Started {
                return Err(problem(DependencyProblem::Failed));
            }
            self.plan.satisfied_by[at].insert(needs.clone(), found);
        }
        Ok(())
    }

    /// The way from `start` back to itself.
    fn circle(&self, start: usize) -> CoreError {
        let from = self.path.iter().position(|at| *at == start).unwrap_or(0);
        let name = |at: &usize| self.nodes[*at].name.to_string();
        let mut chain: Vec<String> = self.path[from..].iter().map(name).collect();
        chain.push(name(&start));
        CoreError::DependencyCycle { chain }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use plugin_contract::{Dependency, Explain, PluginId};
    use semver::Version;

    use super::{Node, start_plan};

    /// `plugins` as `name version: dependency requirement, ...`; the order as names, then refusals.
    fn plan(plugins: &[&str]) -> (Vec<String>, Vec<String>) {
        type Parsed = (PluginId, Version, BTreeMap<PluginId, Dependency>);
        let parsed: Vec<Parsed> = plugins
            .iter()
            .map(|line| {
                let (head, needs) = line.split_once(':').unwrap_or((line, ""));
                let (name, version) = head.split_once(' ').unwrap();
                let needs = needs.split(',').map(str::trim).filter(|need| !need.is_empty());
                let dependencies = needs.map(|need| {
                    let (name, wanted) = need.split_once(' ').unwrap();
                    (name.parse().unwrap(), Dependency::isolated(wanted.parse().unwrap()))
                });
                (name.parse().unwrap(), version.parse().unwrap(), dependencies.collect())
            })
            .collect();
        let nodes: Vec<Node<'_>> = parsed
            .iter()
            .map(|(name, version, dependencies)| Node { name, version, dependencies })
            .collect();
        let plan = start_plan(&nodes);
        let order =
            plan.order.iter().map(|at| format!("{} {}", nodes[*at].name, nodes[*at].version));
        let refused = plan.refused.iter().map(|(_, error)| format!("{}: {error}", error.code()));
        (order.collect(), refused.collect())
    }

    #[test]
    fn a_plugin_starts_after_what_it_needs() {
        let (order, refused) = plan(&["a 1.0.0: b ^1, c ^1", "b 1.0.0: c ^1", "c 1.0.0"]);
        assert_eq!(order, ["c 1.0.0", "b 1.0.0", "a 1.0.0"]);
        assert!(refused.is_empty());
    }

    #[test]
    fn the_newest_version_that_fits_is_taken() {
        let (order, _) = plan(&["a 1.0.0: b ^1", "b 1.0.0", "b 1.2.0", "b 2.0.0"]);
        assert_eq!(order[..2], ["b 1.2.0", "a 1.0.0"]);
    }

    #[test]
    fn missing_and_conflicting_dependencies_are_told_apart() {
        let (order, refused) =
            plan(&["a 1.0.0: x ^1", "b 1.0.0: c ^2", "c 1.0.0", "d 1.0.0: a ^1"]);
        assert_eq!(order, ["c 1.0.0"]);
        assert_eq!(
            refused,
            [
                "core/dependency-missing: `a` needs `x` ^1, which is not there",
                "core/dependency-conflict: `b` needs `c` ^2, and there is only 1.0.0",
                "core/dependency-failed: `d` needs `a` ^1, which could not be started itself",
            ]
        );
    }

    #[test]
    fn a_chain_may_be_long_but_not_endless() {
        let chain = |length: usize| {
            let lines: Vec<String> = (0..length)
                .map(|at| format!("p{at} 1.0.0: p{} ^1", at + 1))
                .chain([format!("p{length} 1.0.0")])
                .collect();
            plan(&lines.iter().map(String::as_str).collect::<Vec<_>>())
        };
        assert!(chain(99).1.is_empty());
        let (_, refused) = chain(2_000);
        assert!(refused.iter().any(|error| error.starts_with("core/dependency-too-deep")));
    }

    #[test]
    fn a_circle_is_named_and_the_others_start() {
        let (order, refused) =
            plan(&["a 1.0.0: b ^1", "b 1.0.0: c ^1", "c 1.0.0: a ^1", "d 1.0.0"]);
        assert_eq!(order, ["d 1.0.0"]);
        assert_eq!(
            refused[0],
            "core/dependency-cycle: dependencies form a circle: a -> b -> c -> a"
        );
        assert_eq!(refused.len(), 3);
    }
}
