"""Builder: float networks layer by layer, and the residual blocks of the field."""

from __future__ import annotations

from numpy.typing import ArrayLike

from .attention import Attention
from .blocks import BlockBuilder, Stride, Synapses
from .layers import Neuron
from .quantized import Combine

__all__ = ["NetworkBuilder"]


class NetworkBuilder(BlockBuilder):
    """Builds a Network layer by layer; every method returns the name of the tensor it made.

    ``neuron`` is used wherever a method is not given its own.  Weights are ``[Cout, Cin, KH, KW]``,
    biases ``[Cout]`` or None.  Each layer is checked when added (NetworkError).

    Blocks are written with S their input (the shortcut), SN spiking neurons, C3 and C1 convolutions of
    3x3 and 1x1 (any odd size will do), BN batch norm, which is folded into weights and biases.  A
    projection is (weight, bias) of its C1; ``stride`` is that of the block's first (of bottlenecks:
    second) convolution and of the projection.  Layers are named block.conv1, block.projection and so on.
    """

    def plain_block(
        self,
        x: str,
        w1: ArrayLike,
        b1: ArrayLike | None,
        w2: ArrayLike,
        b2: ArrayLike | None,
        *,
        stride: Stride = 1,
        neuron: Neuron | None = None,
        name: str | None = None,
    ) -> str:
        """O = SN(BN(C3(SN(BN(C3 S))))): no shortcut."""
        return self._branch(x, [(w1, b1), (w2, b2)], [stride, 1], neuron, self._block(name))

    def sew_block(
        self,
        x: str,
        w1: ArrayLike,
        b1: ArrayLike | None,
        w2: ArrayLike,
        b2: ArrayLike | None,
        *,
        combine: Combine = "add",
        stride: Stride = 1,
        projection: Synapses | None = None,
        clamp: bool = False,
        neuron: Neuron | None = None,
        name: str | None = None,
    ) -> str:
        """O = g(A, sc(S)), A = SN(BN(C3(SN(BN(C3 S))))) (SEW paper, eq. 8 and table 1).

        sc is the identity, or SN(BN(C1 stride)) with ``projection``.  ``clamp`` (ADD only): O = min(A + S, 1),
        which for a binary S is A or S; refused where S counts.
        """
        return self._sew(x, [(w1, b1), (w2, b2)], [stride, 1], projection, combine, clamp, neuron, name)

    def sew_bottleneck(
        self,
        x: str,
        w1: ArrayLike,
        b1: ArrayLike | None,
        w2: ArrayLike,
        b2: ArrayLike | None,
        w3: ArrayLike,
        b3: ArrayLike | None,
        *,
        combine: Combine = "add",
        stride: Stride = 1,
        projection: Synapses | None = None,
        clamp: bool = False,
        neuron: Neuron | None = None,
        name: str | None = None,
    ) -> str:
        """O = g(A, sc(S)), A = SN(BN(C1(SN(BN(C3(SN(BN(C1 S)))))))): the block of SEW-ResNet-50 and deeper."""
        convs: list[Synapses] = [(w1, b1), (w2, b2), (w3, b3)]
        return self._sew(x, convs, [1, stride, 1], projection, combine, clamp, neuron, name)

    def spiking_resnet_block(
        self,
        x: str,
        w1: ArrayLike,
        b1: ArrayLike | None,
        w2: ArrayLike,
        b2: ArrayLike | None,
        *,
        stride: Stride = 1,
        projection: Synapses | None = None,
        current: float = 1.0,
        neuron: Neuron | None = None,
        name: str | None = None,
    ) -> str:
        """O = SN(BN(C3(SN(BN(C3 S)))) + sc(S)) (Spiking ResNet; SEW paper, eq. 6): no SN on the shortcut.

        sc is ``current`` * S for a binary S, or BN(C1 stride) with ``projection``, whose X is a membrane stream.
        """
        return self._spiking_resnet(x, [(w1, b1), (w2, b2)], [stride, 1], projection, current, neuron, name)

    def spiking_resnet_bottleneck(
        self,
        x: str,
        w1: ArrayLike,
        b1: ArrayLike | None,
        w2: ArrayLike,
        b2: ArrayLike | None,
        w3: ArrayLike,
        b3: ArrayLike | None,
        *,
        stride: Stride = 1,
        projection: Synapses | None = None,
        current: float = 1.0,
        neuron: Neuron | None = None,
        name: str | None = None,
    ) -> str:
        """O = SN(BN(C1(SN(BN(C3(SN(BN(C1 S))))))) + sc(S)); sc as in :meth:`spiking_resnet_block`."""
        convs: list[Synapses] = [(w1, b1), (w2, b2), (w3, b3)]
        return self._spiking_resnet(x, convs, [1, stride, 1], projection, current, neuron, name)

    def ms_block(
        self,
        x: str,
        w1: ArrayLike,
        b1: ArrayLike | None,
        w2: ArrayLike,
        b2: ArrayLike | None,
        *,
        stride: Stride = 1,
        projection: Synapses | None = None,
        pool_projection: bool = False,
        neuron: Neuron | None = None,
        name: str | None = None,
    ) -> str:
        """y = BN(C3(SN(BN(C3(SN x))))) + sc(x), x and y real-valued membrane streams (MS-ResNet).

        ``x`` is the layer whose spikes SN x and stream x come in (``keeps_stream=True``); the result is the layer
        whose spikes are SN y and whose stream is y.  sc is the identity, BN(C1 stride) of the stream with
        ``projection``, or BN(C1(AvgPool)) with ``pool_projection``, the average over windows of the stride.
        """
        return self._ms(x, [(w1, b1), (w2, b2)], [stride, 1], projection, pool_projection, neuron, name)

    def ms_bottleneck(
        self,
        x: str,
        w1: ArrayLike,
        b1: ArrayLike | None,
        w2: ArrayLike,
        b2: ArrayLike | None,
        w3: ArrayLike,
        b3: ArrayLike | None,
        *,
        stride: Stride = 1,
        projection: Synapses | None = None,
        pool_projection: bool = False,
        neuron: Neuron | None = None,
        name: str | None = None,
    ) -> str:
        """y = BN(C1(SN(BN(C3(SN(BN(C1(SN x)))))))) + sc(x); x, y and sc as in :meth:`ms_block`."""
        convs: list[Synapses] = [(w1, b1), (w2, b2), (w3, b3)]
        return self._ms(x, convs, [1, stride, 1], projection, pool_projection, neuron, name)

    def ds_block(
        self,
        x: str,
        w1: ArrayLike,
        b1: ArrayLike | None,
        w2: ArrayLike,
        b2: ArrayLike | None,
        *,
        stride: Stride = 1,
        projection: Synapses | None = None,
        neuron: Neuron | None = None,
        name: str | None = None,
    ) -> str:
        """O = MLF(BN(C3(MLF(BN(C3 S))))) + sc(S), sc the identity or MLF(BN(C1 stride)) (DS-ResNet, MLF paper).

        The neurons are MLF units of K levels (``Neuron.levels``); counts reach K more with each identity block.
        """
        return self._sew(x, [(w1, b1), (w2, b2)], [stride, 1], projection, "add", False, neuron, name)

    def ds_bottleneck(
        self,
        x: str,
        w1: ArrayLike,
        b1: ArrayLike | None,
        w2: ArrayLike,
        b2: ArrayLike | None,
        w3: ArrayLike,
        b3: ArrayLike | None,
        *,
        stride: Stride = 1,
        projection: Synapses | None = None,
        neuron: Neuron | None = None,
        name: str | None = None,
    ) -> str:
        """O = MLF(BN(C1(MLF(BN(C3(MLF(BN(C1 S))))))) + sc(S); sc as in :meth:`ds_block`."""
        convs: list[Synapses] = [(w1, b1), (w2, b2), (w3, b3)]
        return self._sew(x, convs, [1, stride, 1], projection, "add", False, neuron, name)

    def syna_block(
        self,
        x: str,
        w1: ArrayLike,
        b1: ArrayLike | None,
        w2: ArrayLike,
        b2: ArrayLike | None,
        *,
        attention1: Attention | None = None,
        attention2: Attention | None = None,
        inhibition: Attention | None = None,
        stride: Stride = 1,
        projection: Synapses | None = None,
        neuron: Neuron | None = None,
        name: str | None = None,
    ) -> str:
        """O = OR(A, IA(sc(S))), A = SN(MA(BN(C3(SN(MA(BN(C3 S)))))) (OR-Spiking ResNet with SynA; SynA-ResNet paper).

        MA(X) = relu(gate * X) is ``attention1`` and ``attention2`` on the two convolutions, IA is ``inhibition``,
        whose neuron makes gates of 0 and 1 (layer block.inhibition).  One that is None is left out.  sc is the
        identity, or SN(BN(C1 stride)) with ``projection``.
        """
        convs: list[Synapses] = [(w1, b1), (w2, b2)]
        attentions = [attention1, attention2]
        return self._syna(x, convs, [stride, 1], attentions, projection, inhibition, neuron, name)

    def membrane_shortcut_block(
        self,
        x: str,
        w1: ArrayLike,
        b1: ArrayLike | None,
        w2: ArrayLike,
        b2: ArrayLike | None,
        *,
        current: float = 1.0,
        neuron: Neuron | None = None,
        name: str | None = None,
    ) -> str:
        """O = SN(W2 SN(W1 S) + current * S), dense: the shortcut enters the membrane's input multiplexer.

        H = leak(V) + X + current * S in the second layer.  Weights ``[C, C]`` on a binary S of shape (C, 1, 1).
        """
        name = self._block(name)
        y = self.dense(x, w1, b1, neuron=neuron, name=f"{name}.dense1")
        return self.dense(y, w2, b2, neuron=neuron, shortcut=x, current=current, name=f"{name}.dense2")
