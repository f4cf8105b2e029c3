"""What all charts have in common: fonts, axes, margins."""
from __future__ import annotations

from typing import TYPE_CHECKING

from convnext_dense.analysis.palette import GRID, INK, PAPER

if TYPE_CHECKING:
    import plotly.graph_objects as go

FONT = dict(family='system-ui, "Segoe UI", "DejaVu Sans", Arial, sans-serif', size=13, color=INK)


def set_layout(figure: go.Figure, x_title: str | None, y_title: str | None,
               height: int = 400) -> go.Figure:
    """Give a plotly figure the look that all charts share; returns it."""
    figure.update_layout(
        template='none', autosize=True, height=height, font=FONT, paper_bgcolor=PAPER,
        plot_bgcolor=PAPER, hovermode='closest', barmode='group', dragmode=False,
        margin=dict(l=62, r=18, t=16, b=56),
        legend=dict(orientation='h', traceorder='normal', yanchor='bottom', y=1.02, x=0,
                    font=dict(size=13)))
    axis = dict(gridcolor=GRID, zeroline=False, automargin=True, linecolor=INK, ticks='outside',
                tickcolor=GRID)
    figure.update_xaxes(title=x_title, **axis)
    figure.update_yaxes(title=y_title, **axis)
    return figure


def set_rows(figure: go.Figure, count: int) -> None:
    """A category axis that runs downwards, with half a row of space at both ends."""
    figure.update_yaxes(type='category', range=[count - .4, -.6], dtick=1)
