"""Checks of a config that its types cannot make: whether its parts fit one another."""

from __future__ import annotations

from collections.abc import Sequence

from study.cells import COMPOSED, Cell
from study.config import Scoring, StudyConfig, TaskConfig, reject_duplicates
from study.config.assumed import value_of
from study.config.check_compose import check_compose
from study.config.check_recipes import check_recipes
from study.config.check_translations import check_translations
from study.config.recipe import TaskScoring
from study.config.recipes import key_of
from study.errors import ConfigError

# keys of a task that is scored
_OF_SCORED = ("metric", "harm", "group_field", "translation_of", "scoring", "include_path", "trust_code")


def check(config: StudyConfig) -> None:
    """Raise ConfigError for parts of a config that do not fit one another."""
    if not config.store.strip():
        raise ConfigError("store", config.store, "names no place", "name a folder, or s3://…, gs://… or abfss://…")
    reject_duplicates("languages", list(config.languages))
    reject_duplicates("tasks", [task.name for task in config.families])
    if COMPOSED in {task.name for task in config.families}:
        raise ConfigError("tasks", COMPOSED, "is the folder of composed adapters in a store", "call it otherwise")
    reject_duplicates("seeds", [str(seed) for seed in config.seeds])
    reject_duplicates("adapters", [adapter.name for adapter in config.adapters])
    for task in config.families:
        _check_tables(task, config.languages)
        _check_source(task, config.languages)
        _check_rows(task, config.languages)
        reject_duplicates(f"tasks[{task.name}].metric", list(task.metrics))
        reject_duplicates(f"tasks[{task.name}].train.sizes", [str(size) for size in task.train.sizes])
    if not config.target_list():
        raise ConfigError(
            "targets", config.targets, "the grid is empty: no target to score", "use `all` or list task/language"
        )
    if not config.source_list() and not config.adapters:
        raise ConfigError(
            "sources", config.sources, "the grid is empty: no source to train", "use `all` or list task/language"
        )
    check_translations(config)
    _check_gpus(config)
    _check_samples(config)
    check_recipes(config)
    _check_stages(config)
    check_compose(config)
    _check_existing_adapters(config)
    _check_assumed(config)
    _check_chats(config)


def _check_gpus(config: StudyConfig) -> None:
    """Raise ConfigError for parts of GPUs that no process can have: they are of one GPU, and of one process of a group.

    NCCL refuses two processes of a group on one GPU; Ray has no place for one and a half.
    """
    training = config.training
    asked = {
        "training.resources_per_worker": training.resources_per_worker,
        "evaluators.resources": config.evaluators.resources,
    }
    for key, resources in asked.items():
        gpus = resources.get("GPU", 0.0)
        if gpus > 1 and gpus != int(gpus):
            raise ConfigError(key, f"{{GPU: {gpus:g}}}", "is no whole number of GPUs", "ask for whole ones, or for 1")
    gpus = training.resources_per_worker.get("GPU", 0.0)
    if 0 < gpus < 1 and training.workers_per_trial > 1:
        problem = f"is a part of a GPU, and the {training.workers_per_trial} workers of a trial cannot share one (NCCL)"
        fix = "set training.workers_per_trial to 1, or ask for whole GPUs"
        raise ConfigError("training.resources_per_worker", f"{{GPU: {gpus:g}}}", problem, fix)


def _check_samples(config: StudyConfig) -> None:
    """Raise ConfigError for sizes of a task that is in joint sources only: samples are drawn of a cell alone."""
    sources = config.source_list()
    alone = {source.cells[0].task for source in sources if len(source.cells) == 1 and source.is_plain}
    joint = {cell.task for source in sources for cell in source.cells} - alone
    for task in config.families:
        if task.train.sizes and task.name in joint:
            problem, fix = "samples are drawn of a cell alone, and no source is one of it", "list one, or drop sizes"
            raise ConfigError(f"tasks[{task.name}].train.sizes", list(task.train.sizes), problem, fix)


def _check_stages(config: StudyConfig) -> None:
    """Raise ConfigError for stages where no adapter lies beside the base: there is nothing to begin with."""
    stage = next((source for source in config.source_list() if source.start is not None), None)
    for name, recipe in config.trained_by.items() if stage is not None else ():
        if recipe.trains_all:
            problem = f"begins with an adapter, and {key_of(name)}.lora is null"
            raise ConfigError("sources", stage, problem, "set it, or leave start_from out")


def _check_chats(config: StudyConfig) -> None:
    """Raise ConfigError for parts of a chat where prompts are plain texts, as `scoring` states them, or a task."""
    stated: dict[str, Scoring | TaskScoring] = {"scoring": config.scoring}
    stated |= {f"tasks[{task.name}].scoring": task.scoring for task in config.tasks}
    for key, scoring in stated.items():
        is_chat = scoring.apply_chat_template
        if "chat_template" in (scoring.chat_template_args or {}):
            problem = "has the template itself, by its name"
            raise ConfigError(f"{key}.chat_template_args", "chat_template", problem, "name it in apply_chat_template")
        if config.scoring.apply_chat_template if is_chat is None else is_chat:
            continue
        for part in ("system_prompt", "chat_template_args"):
            if (value := getattr(scoring, part)) is not None:
                problem = "is a part of a chat, and the prompts are plain texts"
                fix = "set apply_chat_template to true there, or write it into the task's `description`"
                raise ConfigError(f"{key}.{part}", value, problem, fix)


def _check_tables(task: TaskConfig, languages: Sequence[str]) -> None:
    tables = {f"train.{key}": table for key, table in task.train.tables().items()}
    if isinstance(task.lm_eval, dict):
        tables["lm_eval"] = task.lm_eval
    for key, table in tables.items():
        for language in sorted(table.keys() - set(languages)):
            raise ConfigError(
                f"tasks[{task.name}].{key}", language, "is not among `languages`", "add it there or drop it here"
            )


def _check_source(task: TaskConfig, languages: Sequence[str]) -> None:
    """Raise ConfigError for a task without an lm-eval task that does not say what is learned, or has keys of one."""
    if task.lm_eval is not None:
        return
    key, train = f"tasks[{task.name}].lm_eval", task.train
    if not train.names_data:
        raise ConfigError(
            key, None, "is required", f"name one, or data to learn from: tasks[{task.name}].train.data_files"
        )
    for one in (train.of(language) for language in languages if task.exists_in(language)):
        if one.format is None and (one.doc_to_text is None or one.doc_to_target is None):
            fix = "set train.format, or both train.doc_to_text and train.doc_to_target, in every language with data"
            raise ConfigError(key, None, "is not named, and train does not say what of a row is learned", fix)
    stated = {name: getattr(task, name) for name in _OF_SCORED}
    keys = {name: value for name, value in stated.items() if value != TaskConfig.model_fields[name].default}
    for name, value in (keys | ({"train.process_docs": True} if train.process_docs else {})).items():
        raise ConfigError(f"tasks[{task.name}].{name}", value, "is of an lm-eval task, and none is named", "drop it")


def _check_rows(task: TaskConfig, languages: Sequence[str]) -> None:
    """Raise ConfigError where rows are to be those of a language which has none of its own, or of a manifest too."""
    key = f"tasks[{task.name}].train.rows_of"
    for one in (task.train.of(language) for language in languages if task.exists_in(language)):
        if (other := one.rows_of) is None:
            continue
        if one.manifest is not None:
            raise ConfigError(key, other, "is set beside train.manifest, and each says which rows", "leave one out")
        fix = "write a table {language: another, whose rows are its own}"
        if other not in languages or not task.exists_in(other):
            raise ConfigError(key, other, "is no language that the task is in", fix)
        if task.train.of(other).rows_of is not None:
            raise ConfigError(key, other, "has another language's rows itself", fix)


def _check_assumed(config: StudyConfig) -> None:
    whole = config.model_dump()
    for key in config.assumed:
        try:
            value_of(whole, key)
        except KeyError as error:
            raise ConfigError("assumed", key, "is no key of the config", "write e.g. recipe.learning_rate") from error


def _check_existing_adapters(config: StudyConfig) -> None:
    for i, adapter in enumerate(config.adapters):
        try:
            _ = adapter.source is not None and Cell.parse(adapter.source)
        except ValueError as error:
            key, fix = f"adapters[{i}].source", "write task/language, or null where it has none"
            raise ConfigError(key, adapter.source, str(error), fix) from error
