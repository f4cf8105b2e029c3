"""The first figure of the ConvNeXt paper: ImageNet-1k accuracy, the area of a bubble its FLOPs.

With what came later: ConvNeXt V2, and Swin's release in place of the paper's figures for it.
"""
import math

import plotly.graph_objects as go

from convnext_dense.analysis.bubbles import LARGEST
from convnext_dense.analysis.chart_layout import set_layout
from convnext_dense.analysis.label_placement import place_labels
from convnext_dense.analysis.labels import family_and_size
from convnext_dense.analysis.palette import bubble_style, translucent
from convnext_dense.published import imagenet_rows

TITLE = 'ImageNet-1k accuracy of the published backbones, images of 224x224'
FAMILIES = {'convnext': 'ConvNeXt', 'convnextv2': 'ConvNeXt V2', 'swin': 'Swin'}
PRETRAINED = {'in1k': '', 'in22k': ', ImageNet-22k first', 'fcmae': '',
              'fcmae-in22k': ', ImageNet-22k first'}


def imagenet_chart() -> go.Figure:
    """Top-1 accuracy against multiply-adds, a line a family; each point names its source."""
    rows = imagenet_rows()
    figure = go.Figure()
    set_layout(figure, 'multiply-adds (G)', 'top-1 accuracy (%)', height=480)
    largest = max(row['flops_G'] for row in rows)
    diameters = [max(LARGEST * math.sqrt(row['flops_G'] / largest), 6.) for row in rows]
    points = [(math.log10(row['flops_G']), row['top1']) for row in rows]
    sizes = [family_and_size(row['name'])[1] for row in rows]
    texts = [size if len(size) < 3 else size.capitalize() for size in sizes]
    x_range, y_range = (math.log10(.4), math.log10(200.)), (75., 89.)
    positions = place_labels(points, texts, diameters, x_range, y_range)
    names = [FAMILIES[family_and_size(row['name'])[0]] + PRETRAINED[row['pretrain']]
             for row in rows]
    for index, name in enumerate(dict.fromkeys(names)):
        members = [i for i, other in enumerate(names) if other == name]
        chosen = [rows[i] for i in members]
        colour, symbol = bubble_style(index)
        figure.add_trace(go.Scatter(
            x=[row['flops_G'] for row in chosen], y=[row['top1'] for row in chosen], name=name,
            text=[texts[i] for i in members], textposition=[positions[i] for i in members],
            mode='lines+markers+text', cliponaxis=False,
            line=dict(color=translucent(colour, .5), width=1.5),
            marker=dict(symbol=symbol, size=[diameters[i] for i in members], opacity=1,
                        color=translucent(colour, .2), line=dict(color=colour, width=2)),
            customdata=[[row['params_M'], row['source']] for row in chosen],
            hovertemplate=f'<b>{name}, %{{text}}</b><br>%{{y:.1f}} %<br>%{{x:.4~g}} G '
                          'multiply-adds, %{customdata[0]:.4~g} M parameters<br>'
                          '%{customdata[1]}<extra></extra>'))
    figure.update_layout(
        xaxis=dict(type='log', range=x_range, tickvals=[.5, 1, 2, 5, 10, 20, 50, 100]),
        yaxis_range=y_range, showlegend=True, legend=dict(itemsizing='constant'))
    return figure
