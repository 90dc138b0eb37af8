"""The settings as a form, made from the configuration's fields: no setting is named here."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args, get_origin

import ipywidgets as w
import traitlets as t

from ipr_core.config import FIELDS, PRESETS, Config, SettingsError, choices, nearest_preset
from ipr_core.texts import SENTENCE, in_html
from ipr_widgets import look

SECTIONS = tuple(Config.model_fields)
Place = tuple[str, str | None]
"""A section, and a setting in it or None."""

_PRESET = "Settings that go together; your own changes are kept when you choose another one"
_NAME = dict(description_width="12.5em")  # the longest name of a setting fits
_MARGIN = "border-left: 3px solid var(--jp-error-color1); padding-left: 6px"


class Form(w.VBox):
    """Every setting with its sentence, and its fault when a wrong value is typed."""

    config = t.Instance(Config, allow_none=True, help="the settings; None while one is wrong")
    faults = t.Tuple(help="the faults, a sentence each")
    changed = t.Tuple(help="names of the settings that differ from the preset, in their order")

    def __init__(self, config: Config):
        self._filling = False
        wide = w.Layout(width="auto", min_width="0")
        self.inputs = {name: _input(name, wide) for name in FIELDS}
        self.notes = {name: w.HTML(layout=wide) for name in FIELDS}
        self.heads = {section: w.HTML() for section in SECTIONS}
        self.preset = w.Dropdown(
            options=list(PRESETS), value=nearest_preset(config), layout=w.Layout(width="10em"),
            tooltip=f"Preset. {_PRESET}",
        )  # fmt: skip
        self.back = w.Button(
            description="Back to the preset", layout=w.Layout(width="auto"), tooltip="Undoes every change to the preset"
        )
        self.find = w.Text(
            placeholder="find a setting", layout=w.Layout(width="16em"),
            tooltip="Shows the settings whose name, section or sentence has these words",
        )  # fmt: skip
        self.summary = w.HTML()
        self._grids = {section: w.GridBox(layout=_grid()) for section in SECTIONS}
        self.tab = w.Tab([w.VBox([self.heads[s], self._grids[s]], layout=_scrolled()) for s in SECTIONS])
        # A label of its own: the page shows no tooltip on a list with a description.
        head = w.HBox([w.HTML(look.term("Preset", _PRESET)), self.preset, self.back, self.find])
        head.layout.align_items = "center"
        super().__init__([head, self.summary, self.tab])
        self._show_matches()
        self.fill(config)
        self.preset.observe(self._take_preset, "value")
        self.back.on_click(lambda _: self.fill(PRESETS[self.preset.value]()))
        self.find.observe(self._show_matches, "value")
        for box in self.inputs.values():
            box.observe(self._check, "value")

    def fill(self, config: Config) -> None:
        """Show these settings."""
        self._write({name: input_value(name, value) for name, value in config.settings().items()})

    @property
    def values(self) -> dict[str, Any]:
        """Every setting as typed, right or wrong."""
        return {name: read(name, box.value) for name, box in self.inputs.items()}

    def _check(self, _: object = None) -> None:
        if self._filling:
            return
        try:
            config, faults = Config().replace(**self.values), []
        except SettingsError as error:
            config, faults = None, error.faults
        changed = self._changes(config)
        with self.hold_trait_notifications():
            self.config, self.faults, self.changed = config, tuple(faults), tuple(changed)
        self._show_notes()

    def _changes(self, config: Config | None) -> list[str]:
        """Return the settings that are not the preset's, by their texts while one is wrong."""
        preset = PRESETS[self.preset.value]()
        if config is not None:
            return list(config.differences(preset))
        values = preset.settings()
        return [
            name for name, value in self.values.items() if input_value(name, value) != input_value(name, values[name])
        ]

    def _show_notes(self) -> None:
        faults: defaultdict[Place, list[str]] = defaultdict(list)
        for fault in self.faults:
            faults[fault_place(fault)].append(fault)
        preset = PRESETS[self.preset.value]().settings()
        for name, note in self.notes.items():
            section, field = FIELDS[name]
            original = in_html(input_value(name, preset[name])) or "none"
            marked = f"<b>Changed; the preset has {original}.</b> " if name in self.changed else ""
            # The sentence is visible to everyone: a keyboard cannot reach a tooltip.
            note.value = _wrong(faults[section, name]) or _small(marked + in_html(field.description or "", SENTENCE))
        for section, head in self.heads.items():
            head.value = _wrong(faults[section, None])
        names = f"Changed from the preset {self.preset.value}: <b>{', '.join(self.changed)}</b>"
        self.summary.value = _small(names if self.changed else f"As the preset {self.preset.value} has them.")
        self.back.disabled = not self.changed
        self._show_titles()

    def _show_titles(self) -> None:
        """Show each section's name, its number of matches, and a sign for a fault."""
        wrong = {section for section, _ in map(fault_place, self.faults)}
        for i, section in enumerate(SECTIONS):
            count = len(self._grids[section].children) // 2
            matches = f" ({count})" if self.find.value.strip() else ""
            self.tab.set_title(i, section + matches + (" ⚠" if section in wrong else ""))

    def _show_matches(self, _: object = None) -> None:
        names = matching(self.find.value)
        for section, grid in self._grids.items():
            fields = [name for name in names if FIELDS[name][0] == section]
            grid.children = [widget for name in fields for widget in (self.inputs[name], self.notes[name])]
        counts = [len(grid.children) for grid in self._grids.values()]
        if any(counts) and not counts[self.tab.selected_index or 0]:
            self.tab.selected_index = next(i for i, count in enumerate(counts) if count)
        self._show_titles()

    def _take_preset(self, _: object) -> None:
        """Take the new preset's settings and keep the changed ones."""
        changes = {name: self.inputs[name].value for name in self.changed}
        preset = PRESETS[self.preset.value]().settings()
        self._write({name: input_value(name, value) for name, value in preset.items()} | changes)

    def _write(self, values: Mapping[str, Any]) -> None:
        self._filling = True  # one check, at the end
        try:
            for name, value in values.items():
                self.inputs[name].value = value
        finally:
            self._filling = False
        self._check()


def matching(words: str) -> list[str]:
    """Return the settings with all of these words in name, section or sentence."""
    texts = {name: f"{name} {section} {field.description}".lower() for name, (section, field) in FIELDS.items()}
    return [name for name, text in texts.items() if all(word in text for word in words.lower().split())]


def fault_place(fault: str) -> Place:
    """Return the section of a fault, and its setting, None where several do not go together."""
    names = [word for word in re.findall(r"\w+", fault) if word in FIELDS]
    if not names:
        return SECTIONS[0], None
    section, field = FIELDS[names[0]]
    single = fault.startswith(f"{names[0]} is ") and fault.endswith(field.description or "")
    return section, names[0] if single else None


def input_value(name: str, value: Any) -> Any:
    """Return a setting's value for its input: None as an empty text, several with commas."""
    annotation = FIELDS[name][1].annotation
    if annotation in (bool, int, float) or get_origin(annotation) is Literal:
        return value
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)


def read(name: str, value: Any) -> Any:
    """Return the value in an input, for the configuration to check."""
    annotation = FIELDS[name][1].annotation
    if value == "" and type(None) in get_args(annotation):
        return None
    return int(value) if annotation is int and float(value).is_integer() else value


def _input(name: str, layout: w.Layout) -> w.DOMWidget:
    """Return the input for a field's annotation; it takes wrong values too, whose fault shows."""
    field = FIELDS[name][1]
    annotation = field.annotation
    common = dict(description=name, tooltip=field.description, style=_NAME, layout=layout)
    if annotation is bool:
        return w.Checkbox(**common)
    if get_origin(annotation) is Literal:
        return w.Dropdown(options=get_args(annotation), **common)
    if annotation in (int, float):
        return w.FloatText(step=1 if annotation is int else None, continuous_update=True, **common)
    if names := choices(name):  # a name or another text; once it is emptied, the browser lists all names
        return w.Combobox(options=names, placeholder="a name, or the path of a .toml file", **common)
    multiple, absent = get_origin(annotation) is tuple, type(None) in get_args(annotation)
    hint = "values with commas between them" if multiple else "none" if absent else ""
    return w.Text(placeholder=hint, continuous_update=True, **common)


def _small(html: str) -> str:
    style = "line-height: 1.3; font-size: var(--jp-ui-font-size1); color: var(--jp-ui-font-color1)"
    return f'<div style="{style}">{html}</div>'


def _wrong(faults: Sequence[str]) -> str:
    lines = "<br>".join(f"⚠ {in_html(fault, SENTENCE)}" for fault in faults)
    return _small(f'<div role="alert" style="{_MARGIN}">{lines}</div>') if lines else ""


def _grid() -> w.Layout:
    return w.Layout(grid_template_columns="minmax(20em, 2fr) 3fr", grid_gap="2px 12px", align_items="center")


def _scrolled() -> w.Layout:
    return w.Layout(max_height="320px", overflow="auto")
