"""Describes operation families: name, options and geometry. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable, Literal, Union

from espnet_stnas.errors import ConfigError
from espnet_stnas.messages import quote
from espnet_stnas.notation.lengths import Lengths

OptionValue = Union[int, str, None]
Options = dict[str, OptionValue]

# Upper limit of integer options, widths and finite reaches. More is a typing error.
MAX_SIZE = 100_000

# Operations are submodules under their names, so these attributes of torch.nn.Module
# (which is not imported here) and of our layers cannot be names of operations.
RESERVED_NAMES = frozenset(
    """
    add_module apply bfloat16 buffers call_super_init children compile cpu cuda double
    dump_patches espnet_initialization_fn eval extra_repr float forward get_buffer
    get_extra_state get_parameter get_submodule half ipu layer load_state_dict logits
    modules mtia named_buffers named_children named_modules named_parameters operations
    parameters register_backward_hook register_buffer register_forward_hook
    register_forward_pre_hook register_full_backward_hook
    register_full_backward_pre_hook register_load_state_dict_post_hook
    register_load_state_dict_pre_hook register_module register_parameter
    register_state_dict_post_hook register_state_dict_pre_hook requires_grad_
    score_offset set_extra_state set_submodule share_memory shared skip state_dict
    state_of to to_empty train training type xpu zero_grad
    """.split()
)


@dataclass(frozen=True)
class Option:
    """One option of an operation family.

    Args:
        name: Key in the long form.
        code: Capital letter in the short form.
        default: Value if the option is absent; ``None``: derived from the network.
        minimum: Smallest accepted integer (integer options).
        choices: All accepted values, if only a few are.
        parity: ``odd`` or ``even``, if only such integers are accepted.
        always_shown: Write the option in the canonical form even at its default.
    """

    name: str
    code: str
    default: OptionValue
    minimum: int = 1
    choices: tuple[OptionValue, ...] = ()
    parity: Literal["", "odd", "even"] = ""
    always_shown: bool = False

    @property
    def accepts(self) -> str:
        """The accepted values, in words."""
        if self.choices:
            return "one of " + ", ".join(str(c) for c in self.choices)
        kind = f"an {self.parity} integer" if self.parity else "an integer"
        return f"{kind} from {self.minimum} to {MAX_SIZE}"

    def check(self, value: Any, where: str) -> OptionValue:
        """Return ``value`` if the option accepts it.

        Raises:
            ConfigError: If the option does not accept it.
        """
        if value is None and self.default is None:
            return None
        if self.choices:
            # 1.0 and True equal 1, but only the integer 1 is accepted.
            good = any(type(value) is type(c) and value == c for c in self.choices)
        else:
            good = type(value) is int and self.minimum <= value <= MAX_SIZE
            if good and self.parity:
                good = value % 2 == (self.parity == "odd")
        if not good:
            raise ConfigError(
                f"{where}: option '{self.name}' is {quote(value)}; "
                f"accepted is {self.accepts}"
            )
        return value


@dataclass(frozen=True)
class OpFamily:
    """The common properties of all operations of one family.

    Args:
        name: Name of the family, e.g. ``tdnn``.
        module: ``package.module:Class`` that implements it, imported when built.
        options: Accepted options, in the order of the canonical short form.
        output_width: ``(options, input width, network width) -> output width``.
        lengths: ``options -> number of output frames``, a map of input frames.
        reach: ``options -> input frames to the left and right`` that an output frame
            depends on; infinite for the whole utterance. With a chunk, these are the
            frames before the start of its chunk, and those up to the frame whose chunk
            it sees to the end.
        chunk: ``options -> frames of a chunk`` of attention; 1: there are no chunks.
        check: ``options -> what is wrong with them``, or an empty text.
        shared_options: Options in which candidates of one choice may differ and still
            share their weights (:mod:`espnet_stnas.ops.sharing`).
    """

    name: str
    module: str
    options: tuple[Option, ...] = ()
    output_width: Callable[[Options, int, int], int] = lambda o, i, w: i
    lengths: Callable[[Options], Lengths] = lambda o: Lengths()
    reach: Callable[[Options], tuple[float, float]] = lambda o: (0, 0)
    chunk: Callable[[Options], int] = lambda o: 1
    check: Callable[[Options], str] = lambda o: ""
    shared_options: tuple[str, ...] = ()

    def option_names(self) -> str:
        """Return the long and short names of all options, for error messages."""
        if not self.options:
            return "none"
        return ", ".join(f"{o.name} ({o.code})" for o in self.options)
