"""What all charts have in common: fonts, axes, margins."""
from convnext_dense.analysis.palette import GRID, INK, PAPER

FONT = dict(family='system-ui, "Segoe UI", "DejaVu Sans", Arial, sans-serif', size=13, color=INK)


def set_layout(figure, x_title, y_title, height=400):
    """Give a plotly figure the house's look; returns it."""
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


def set_rows(figure, count):
    """A category axis that runs downwards, with half a row of space at both ends."""
    figure.update_yaxes(type='category', range=[count - .4, -.6], dtick=1)
