//! What the one prints the other accepts, and what is changed in it is found.

mod mutations;

use std::time::Duration;

use k8s_openapi::api::{
    self as kube, apps::v1::Deployment, batch::v1::Job, policy::v1::PodDisruptionBudget,
};
use proptest::{prelude::*, strategy::Strategy as Drawn};
use serde_json::Value;
use uptree_app::{
    App, Child, Drains, Fact, IntoChild, Listens, Migrates, Options, ProcessSettings, Result,
    Shutdown, Starting, Supervisor,
};

use self::mutations::MUTATIONS;
use super::{check::Question, manifest, *};
use crate::{
    check::{Chosen, Finding, choose, judge},
    draft::Wanted,
    objects::Objects,
    yaml::{Documents, Yaml},
};

/// A service, and what is asked of `manifest`.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a choice of its own")]
pub(super) struct Sample {
    pub(super) migrates: bool,
    pub(super) job: bool,
    pub(super) pre_stop: Option<u64>,
    pub(super) replicas: u32,
    explain: bool,
    tls: bool,
    port: u16,
    drain_limit: u64,
    start: u64,
    /// How long some other children may take to stop, in milliseconds.
    workers: Vec<u64>,
    /// Whether they stand in a supervisor of their own.
    nested: bool,
    stop_budget: Option<u64>,
}

struct Talks(Vec<Box<dyn Fn() -> Fact + Send + Sync>>, Option<Duration>);

impl Talks {
    fn new<F: Clone + Send + Sync + 'static>(fact: F) -> Self {
        Self(vec![Box::new(move || Box::new(fact.clone()))], None)
    }
}

impl Child for Talks {
    fn defaults(&self, options: Options) -> Options {
        match self.1 {
            Some(limit) => options.shutdown(Shutdown::Timeout(limit)),
            None => options,
        }
    }

    fn facts(&self) -> Vec<Fact> {
        self.0.iter().map(|fact| fact()).collect()
    }

    async fn run(&self, cx: Starting) -> Result {
        cx.done()
    }
}

impl Sample {
    fn built(&self) -> Built {
        let seconds = Duration::from_secs;
        let limit = seconds(self.drain_limit);
        let listens = Listens {
            addr: ([127, 0, 0, 1], self.port).into(),
            tls: self.tls,
        };
        let mut drains = Talks::new(Drains {
            delay: Duration::ZERO,
            delay_in_kubernetes: seconds(5),
            limit,
        });
        drains.1 = Some(limit + seconds(2));
        let migrates = Migrates {
            applies: true,
            longest_wait: seconds(600),
        };
        let migrator = Talks::new(migrates)
            .with_id("migrator")
            .cancel_grace(seconds(5));
        let workers = self.workers.iter().enumerate().map(|(at, millis)| {
            let stop = Shutdown::Timeout(Duration::from_millis(*millis));
            Talks(Vec::new(), None)
                .with_id(format!("worker-{at}"))
                .shutdown(stop)
        });
        let app = App::new("my_shop").child(Talks::new(listens).with_id("endpoint"));
        let app = app.children(self.migrates.then_some(migrator));
        let app = match self.nested {
            true => {
                let group = Supervisor::new("group").strategy(uptree_app::Strategy::RestForOne);
                app.child(group.intensity(1, seconds(20)).children(workers))
            }
            false => app.children(workers),
        };
        let mut process = ProcessSettings::default();
        process.start_timeout = seconds(self.start);
        process.stop_budget = self.stop_budget.map(|more| {
            let bare = Built::new(app_of(&app), process.clone()).needed_budget();
            bare.unwrap_or_default() + limit + seconds(more + 8)
        });
        Built::new(app.child(drains.with_id("ready")), process)
    }

    fn wanted(&self) -> Wanted {
        Wanted {
            name: "my-shop".to_owned(),
            image: "registry.example/my-shop:1.2".to_owned(),
            namespace: self.job.then(|| "shops".to_owned()),
            replicas: self.replicas,
            migration_job: self.job && self.migrates,
            pre_stop: self.pre_stop.map(Duration::from_secs),
            explain: self.explain,
        }
    }

    fn print(&self) -> Result<String> {
        let (built, wanted) = (self.built(), self.wanted());
        let variables = manifest::variables(&wanted, &built, &Service::of(&built))?;
        let service = overlaid(Service::of(&built), &variables);
        manifest::draft(&wanted, &built, &service)
    }

    fn check(&self, text: &str) -> Result<Vec<Finding>> {
        let built = self.built();
        let objects = Objects::read(text)?;
        let ours = choose(&objects, &Chosen::default(), "my_shop")?;
        let cases = ours.into_iter().map(|ours| {
            let mut question = Question::new(ours, &built);
            assert!(question.take(None));
            question.case
        });
        let cases: Vec<_> = cases.collect();
        Ok(judge(&cases, &objects))
    }
}

/// The app as it is so far: a handle to its root is no list.
fn app_of(app: &App) -> App {
    App::new("my_shop").child(app.supervisor().with_id("rest"))
}

fn samples() -> impl Drawn<Value = Sample> {
    let flags = (
        any::<bool>(),
        any::<bool>(),
        any::<bool>(),
        any::<bool>(),
        any::<bool>(),
    );
    let times = (
        1..=120_u64,
        10..=600_u64,
        proptest::collection::vec(0..=90_000_u64, 0..4),
    );
    let options = (
        proptest::option::of(1..=60_u64),
        1..=5_u32,
        1..=u16::MAX,
        proptest::option::of(0..=30_u64),
    );
    (flags, times, options).prop_map(|(flags, times, options)| Sample {
        migrates: flags.0,
        job: flags.1,
        explain: flags.2,
        tls: flags.3,
        nested: flags.4,
        drain_limit: times.0,
        start: times.1,
        workers: times.2,
        pre_stop: options.0,
        replicas: options.1,
        port: options.2,
        stop_budget: options.3,
    })
}

proptest! {
    #[test]
    fn what_is_printed_is_accepted(sample in samples()) {
        let text = sample.print().unwrap();
        let found = sample.check(&text).unwrap();
        prop_assert!(found.is_empty(), "{text}\n{found:#?}");
    }
}

proptest! {
    // Each case is some forty manifests.
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn each_change_of_it_is_found(sample in samples()) {
        let text = sample.print().unwrap();
        for (what, change) in MUTATIONS {
            let Some(changed) = change(&sample, &text) else {
                continue;
            };
            prop_assert_ne!(&changed, &text, "{}", what);
            let found = sample.check(&changed);
            let found = found.map_or(true, |found| !found.is_empty());
            prop_assert!(found, "{what}\n{changed}");
        }
    }
}

proptest! {
    #[test]
    fn whatever_it_is_given_check_comes_to_an_end(
        sample in samples(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), 0..40_usize, "[-{}\\[\\]:&*#|>!%@`'\"~<a0 \n]{0,4}"), 1..8),
    ) {
        let mut text: Vec<char> = sample.print().unwrap().chars().collect();
        for (at, length, put) in changes {
            let at = at.index(text.len());
            let end = (at + length).min(text.len());
            text.splice(at..end, put.chars());
        }
        let text: String = text.into_iter().collect();
        // Either answer will do.
        drop(sample.check(&text));
    }
}

/// A sample in which everything is there.
fn whole() -> Sample {
    Sample {
        migrates: true,
        job: true,
        pre_stop: None,
        replicas: 3,
        explain: true,
        tls: false,
        port: 4000,
        drain_limit: 10,
        start: 60,
        workers: vec![10_000],
        nested: false,
        stop_budget: None,
    }
}

#[test]
fn every_change_is_made_by_some_sample() {
    let samples = [
        whole(),
        Sample {
            pre_stop: Some(5),
            ..whole()
        },
        Sample {
            job: false,
            ..whole()
        },
    ];
    for (what, change) in MUTATIONS {
        let made = samples
            .iter()
            .any(|sample| change(sample, &sample.print().unwrap()).is_some());
        assert!(made, "{what}");
    }
}

#[test]
fn the_numbers_are_those_of_the_tree() {
    let text = whole().print().unwrap();
    let all = crate::workloads(&text).unwrap();
    let shop = all.iter().find(|it| it.kind == "Deployment").unwrap();
    let container = &shop.containers[0];
    let value = |name: &str| container.env[name].value.as_deref();
    // 5 s endpoint + 5 s migrator + 10 s worker + 17 s drain + 0.5 s, in whole seconds.
    assert_eq!(value("STOP_BUDGET"), Some("38s"));
    assert_eq!(value("DRAIN_DELAY"), Some("5s"));
    assert_eq!(value("MIGRATE"), Some("wait"));
    assert_eq!(value("ADDR"), Some("0.0.0.0:4000"));
    assert_eq!(shop.grace, Duration::from_secs(40));
    let liveness = container.liveness.as_ref().unwrap();
    assert_eq!(
        (liveness.period.as_secs(), liveness.failure_threshold),
        (10, 4)
    );
    // 60 s for the image, four starts of 60 s, 600 s for locks, 5 s to settle, 5 s for a probe.
    assert_eq!(
        shop.progress_deadline,
        Duration::from_secs(60 + 240 + 600 + 5 + 5)
    );
    assert_eq!(container.startup.as_ref().unwrap().failure_threshold, 60);
    let job = all.iter().find(|it| it.kind == "Job").unwrap();
    assert_eq!(job.name, "my-shop-migrate-1-2");
    assert_eq!(job.grace, Duration::from_secs(7));
    assert_eq!(job.containers[0].args, ["migrate", "up"]);
}

#[test]
fn a_pre_stop_hook_waits_instead_of_the_service() {
    let text = Sample {
        pre_stop: Some(15),
        ..whole()
    }
    .print()
    .unwrap();
    let all = crate::workloads(&text).unwrap();
    let shop = all.iter().find(|it| it.kind == "Deployment").unwrap();
    let container = &shop.containers[0];
    let hook = container.pre_stop.as_ref().unwrap();
    assert_eq!(hook.sleep, Some(Duration::from_secs(15)));
    assert_eq!(container.env["DRAIN_DELAY"].value.as_deref(), Some("0s"));
    assert_eq!(shop.grace, Duration::from_secs(15 + 33 + 2));
}

#[test]
fn explained_and_plain_say_the_same() {
    let explained = whole().print().unwrap();
    let plain = Sample {
        explain: false,
        ..whole()
    }
    .print()
    .unwrap();
    assert!(explained.lines().count() > plain.lines().count() + 20);
    let said = |text: &str| {
        let lines = text
            .lines()
            .filter(|line| !line.trim_start().starts_with('#'));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(said(&explained), said(&plain));
}

#[test]
fn what_cannot_be_derived_is_refused() {
    let refused = |sample: Sample| sample.print().expect_err("it is refused").to_string();
    assert_eq!(
        refused(Sample {
            pre_stop: Some(0),
            ..whole()
        }),
        "nothing waits for the removal of the pod's endpoint, which races SIGTERM"
    );
    let endless = Talks(Vec::new(), None)
        .with_id("pump")
        .shutdown(Shutdown::Infinity);
    let listens = Listens {
        addr: ([0, 0, 0, 0], 80).into(),
        tls: false,
    };
    let app = App::new("shop").child(Talks::new(listens)).child(endless);
    let service = Service::of(&Built::new(app, ProcessSettings::default()));
    let built = whole().built();
    let wanted = whole().wanted();
    let error = manifest::draft(&wanted, &built, &service).expect_err("it is refused");
    let expected = "its stop has no limit: pump without a limit + talks 5s";
    assert_eq!(error.to_string(), expected);
    let set = Service {
        set_budget: Some(Duration::from_secs(9)),
        ..service
    };
    assert!(manifest::draft(&wanted, &built, &set).is_ok());
    let short = Service {
        needed_budget: Some(Duration::from_secs(10)),
        ..set
    };
    let error = manifest::draft(&wanted, &built, &short).expect_err("it is refused");
    assert_eq!(
        error.to_string(),
        "STOP_BUDGET is 9s, and the children may take 10s"
    );
}

/// A document as Kubernetes's own types take it, and give it back: what they do not know is gone.
fn known_to<T: serde::de::DeserializeOwned + serde::Serialize>(document: &Value) -> Value {
    let object: T = serde_json::from_value(document.clone()).unwrap();
    serde_json::to_value(object).unwrap()
}

/// YAML as the JSON that Kubernetes makes of it.
fn json(yaml: Yaml<'_>) -> Value {
    if yaml.is_map() {
        let entries = yaml.entries();
        let entries = entries.map(|(key, value)| (key.text().unwrap().to_owned(), json(value)));
        return entries.collect();
    }
    if yaml.is_list() {
        return yaml.items().map(json).collect();
    }
    match yaml.text().unwrap() {
        text if yaml.string().is_some() => text.into(),
        "true" => true.into(),
        "false" => false.into(),
        _ => yaml.number().unwrap().into(),
    }
}

#[test]
fn kubernetes_knows_every_word_of_it() {
    let samples = [
        whole(),
        Sample {
            pre_stop: Some(5),
            tls: true,
            ..whole()
        },
        Sample {
            job: false,
            explain: false,
            ..whole()
        },
    ];
    for sample in samples {
        let text = sample.print().unwrap();
        let documents = Documents::read(&text).unwrap();
        for document in documents.iter().map(json) {
            let known = match document["kind"].as_str().unwrap() {
                "Deployment" => known_to::<Deployment>(&document),
                "Service" => known_to::<kube::core::v1::Service>(&document),
                "PodDisruptionBudget" => known_to::<PodDisruptionBudget>(&document),
                "Job" => known_to::<Job>(&document),
                kind => panic!("what is a {kind}?"),
            };
            assert_eq!(known, document, "{text}");
        }
    }
}
