"""Checks a Kubernetes manifest against the types of the official client: fields, their types, and what is required.

Then that its parts fit each other: manifest.py FILE.
"""

import re
import sys

import yaml
from kubernetes import client

KINDS = {("v1", "Service"): client.V1Service, ("batch/v1", "Job"): client.V1Job}
PLAIN = {"str": str, "int": int, "bool": bool, "float": float}


def built(kind, value, at):
    """`value` as `kind`, a type as the client names it; ValueError says what does not fit."""
    if kind == "object":
        return value
    if kind in PLAIN:
        if type(value) is not PLAIN[kind]:
            raise ValueError(f"{at} is {value!r}, not of type {kind}")
        return value
    if many := re.fullmatch(r"list\[(.*)\]", kind):
        if not isinstance(value, list):
            raise ValueError(f"{at} is no list")
        return [built(many[1], item, f"{at}[{index}]") for index, item in enumerate(value)]
    if named := re.fullmatch(r"dict\(str, (.*)\)", kind):
        return {built("str", name, at): built(named[1], item, f"{at}.{name}") for name, item in value.items()}
    model = getattr(client, kind)
    if not isinstance(value, dict):
        raise ValueError(f"{at} is {value!r}, not a {kind}")
    names = {theirs: ours for ours, theirs in model.attribute_map.items()}
    if unknown := set(value) - set(names):
        raise ValueError(f"{at} has {', '.join(sorted(unknown))}, which a {kind} has not")
    parts = {names[name]: built(model.openapi_types[names[name]], item, f"{at}.{name}") for name, item in value.items()}
    try:
        return model(**parts)
    except ValueError as error:
        raise ValueError(f"{at}: {error}") from error


def checked(text):
    """The service and the job of a manifest."""
    parts = {}
    for document in yaml.safe_load_all(text):
        kind = KINDS[document["apiVersion"], document["kind"]]
        parts[document["kind"]] = built(kind.__name__, document, document["kind"])
    service, job = parts["Service"], parts["Job"]
    pod, name = job.spec.template, service.metadata.name
    environment = {entry.name: entry.value for entry in pod.spec.containers[0].env}
    for fits, what in [
        (job.spec.completion_mode == "Indexed", "the job's pods have no index"),
        (job.spec.completions == job.spec.parallelism, "the job's pods do not all run at once"),
        (environment["SQUALL_NODES"] == str(job.spec.completions), "SQUALL_NODES is not the number of pods"),
        (pod.spec.subdomain == name and service.spec.cluster_ip == "None", "the pods have no names"),
        (service.spec.selector.items() <= pod.metadata.labels.items(), "the service does not select the pods"),
        (environment["SQUALL_RENDEZVOUS"].split(":")[0] == f"{job.metadata.name}-0.{name}", "they do not meet at a pod of the job"),
        (all(type(word) is str for word in pod.spec.containers[0].command), "a word of the command is no text"),
    ]:
        if not fits:
            raise ValueError(what)
    return environment, pod.spec.containers[0].command


if __name__ == "__main__":
    manifest = open(sys.argv[1]).read()
    environment, command = checked(manifest)
    # The check can fail.
    for before, after in [("completions: 4", "completions: four"), ("containers:", "container:"), ("parallelism: 4", "parallelism: 3")]:
        try:
            checked(manifest.replace(before, after))
        except ValueError:
            continue
        sys.exit(f"`{after}` passes for a manifest")
    for name, value in environment.items():
        if value is not None:
            print(f"{name}={value}")
    print(" ".join(command))
