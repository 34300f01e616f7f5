"""What becomes of a chapter's outputs on the site."""

import base64
import re

import cv2
import numpy as np
import pytest
from bs4 import BeautifulSoup
from docutils import nodes
from docutils.core import publish_doctree
from nbformat import v4
from page_parts import LARGE, add_alt_texts, lighten_figures, move_media
from sphinx_site import LONGEST, Search, description, without_scripts


def cell(*outputs):
    return v4.new_code_cell("show()", outputs=list(outputs))


def html_output(text):
    return v4.new_output("display_data", {"text/html": text})


def address(kind, data):
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def test_pictures_and_videos_within_html_become_files(tmp_path):
    folder = tmp_path / "media"
    film, drawing = address("video/webm", b"film"), address("image/svg+xml", b"<svg/>")
    page = f'<video src="{film}"></video><img src="{drawing}">'
    page += f'<img src="{address("image/jpeg", b"j")}">'
    notebook = v4.new_notebook(cells=[cell(html_output(page)), cell(html_output(page))])
    move_media(notebook, folder)
    soup = BeautifulSoup(notebook.cells[0].outputs[0].data["text/html"], "html.parser")
    sources = [element["src"] for element in soup.select("[src]")]
    assert [(tmp_path / source).read_bytes() for source in sources] == [b"film", b"<svg/>", b"j"]
    assert [source.rpartition(".")[2] for source in sources] == ["webm", "svg", "jpg"]
    assert notebook.cells[1].outputs[0].data == notebook.cells[0].outputs[0].data
    assert len(list(folder.iterdir())) == 3


def test_html_without_pictures_stays_as_it_is(tmp_path):
    notebook = v4.new_notebook(cells=[cell(html_output("<p>data: none</p>"))])
    move_media(notebook, tmp_path / "media")
    assert notebook.cells[0].outputs[0].data["text/html"] == "<p>data: none</p>"
    assert not (tmp_path / "media").exists()


def test_the_text_of_a_figure_goes_to_its_cell():
    picture = v4.new_output(
        "display_data", {"image/png": "aGk="}, metadata={"image/png": {"alt": "Chart: AUC."}}
    )
    notebook = v4.new_notebook(cells=[cell(picture), cell(html_output("<p>a</p>"))])
    add_alt_texts(notebook)
    assert notebook.cells[0].metadata["mystnb"]["image"] == {"alt": "Chart: AUC."}
    assert "mystnb" not in notebook.cells[1].metadata


def picture(image):
    data = cv2.imencode(".png", image)[1].tobytes()
    return v4.new_output("display_data", {"image/png": base64.b64encode(data).decode()}), data


def test_large_photographs_become_jpegs_and_charts_stay():
    noise = np.random.default_rng(0).integers(0, 255, (400, 400, 3), np.uint8)
    photograph, large = picture(noise)
    chart, small = picture(np.full((400, 400, 3), 255, np.uint8))
    lighten_figures(v4.new_notebook(cells=[cell(photograph), cell(chart)]))
    assert len(small) < LARGE < len(large)
    jpeg = base64.b64decode(photograph.data["image/jpeg"])
    assert "image/png" not in photograph.data and len(jpeg) < len(large) / 2
    image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert image.shape == noise.shape
    assert list(chart.data) == ["image/png"]


def test_a_page_is_described_by_its_first_long_paragraph():
    text = "Title\n=====\n\nShort.\n\n" + "A fixed camera sees the same place all day. " * 9
    summary = description(publish_doctree(text))
    assert summary.startswith("A fixed camera sees") and len(summary) <= LONGEST
    assert description(nodes.document(None, None)) == ""


@pytest.mark.parametrize("text", ["σ(l) is learnt", "the weight σ", "sigma"])
def test_sigma_is_found_by_its_sign_and_its_name(text):
    assert "sigma" in Search({}).split(text)


def test_the_search_field_reads_the_sign_as_the_name():
    assert re.search(r'replace\(/σ/g, " sigma "\)', Search.js_splitter_code)


def test_scripts_without_use_are_left_out_and_others_stay():
    page = (
        '<script defer src="../_static/scripts/fontawesome.js?digest=1"></script>\n'
        '<script src="../searchindex.js"></script>\n<script>const searchindex = 1;</script>'
        '<script src="../_static/touch.js?v=2"></script>'
    )
    light = BeautifulSoup(without_scripts(page, ("fontawesome", "searchindex")), "html.parser")
    scripts = [element.get("src") or element.get_text() for element in light.select("script")]
    assert scripts == ["const searchindex = 1;", "../_static/touch.js?v=2"]
