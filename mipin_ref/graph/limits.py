"""What a model may ask for. Decided before memory or time is taken, by sizes that the file declares.

A file of a few kilobytes can ask for all the memory there is. So what is asked for beyond fixed amounts must stand in
proportion to what the file holds: the weights of large networks are large.
"""

from __future__ import annotations

from dataclasses import dataclass

MiB = 1 << 20

CONSTANT = 1 << 28
"""Elements of one constant: VGG19's largest weight has 1e8; a hostile file asks for 2**40."""

TENSOR = 1 << 26
"""Elements of one activation a sample: VGG19 has so many at 1024×1024 pixels."""

ACTIVATIONS = 1 << 29
"""Elements of all activations a sample; four more for every byte that the file holds."""

COMPUTED = 640 * MiB
"""Bytes of constants computed of others; two more for every byte that the file holds. VGG19 whose weights are
ConstantOfShape takes 575 MB."""

HELD = 640 * MiB
"""Bytes that the layers hold beside these constants; four more for every byte that the file holds."""

RUN = 1792 * MiB
"""Bytes of all that together with the activations that the self-check holds at once, what the file holds left out."""

WORK = 1 << 36
"""Multiply-adds a sample (see Layer.work), about two seconds; 4096 more for every byte that the file holds, as many
as a convolution does on a map of 32×32. VGG19 at 224×224 has 2e10."""

FOLDING = 1 << 33
"""Multiply-adds of all products of constants; 4096 more for every byte that the file holds."""

NODES = 1 << 15
"""Nodes of all local functions once they are expanded; so many more for every node that the file holds."""

TURNS = 1 << 14
"""Nodes of all turns of one Loop together, those inside of others included."""

WRITTEN = 64 * MiB
"""Bytes that a model may grow by while its Loops are written out: a turn repeats what its nodes hold inside."""

LOOPS = 32
"""Loops of a file that are written out."""

NESTING = 64
"""Local functions that call each other in a chain."""


class TooLarge(ValueError):
    """Something of more elements, bytes or operations than any classifier needs."""


@dataclass
class Spent:
    """What a model has asked for so far. stored: bytes of the tensors that the file holds."""

    stored: int
    computed: int = 0
    held: int = 0
    products: int = 0

    def compute(self, size: int) -> None:
        """Count a constant of `size` bytes. Raises TooLarge."""
        self.check_compute(size)
        self.computed += size

    def check_compute(self, size: int) -> None:
        """Raises TooLarge where a constant of `size` bytes would be too much."""
        if self.computed + size > COMPUTED + 2 * self.stored:
            raise TooLarge(f"asks for {size:,} bytes, with all constants up to here {self.computed + size:,}")

    def hold(self, size: int) -> None:
        """Count `size` bytes of a layer. Raises TooLarge."""
        self.held += size
        if self.held > HELD + 4 * self.stored:
            raise TooLarge(f"layers up to here ask for {self.held:,} bytes")

    def multiply(self, count: int) -> None:
        """Count the multiply-adds of a product of constants. Raises TooLarge."""
        # A length below zero, which the file may state, gives nothing back.
        self.products += max(count, 0)
        if self.products > FOLDING + 4096 * self.stored:
            raise TooLarge(f"products of constants up to here ask for {self.products:.1e} multiplications")

    def room(self) -> int:
        """Bytes that activations may take while the file is run: it computes its constants once more."""
        beyond = max(0, 2 * self.computed + self.held - 6 * self.stored)
        return max(0, RUN - beyond)

    def work(self) -> int:
        """Multiply-adds of one run."""
        return WORK + 4096 * self.stored

    def activations(self) -> int:
        """Elements of all activations a sample."""
        return ACTIVATIONS + 4 * self.stored
