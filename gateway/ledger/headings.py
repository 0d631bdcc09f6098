"""The columns of the files that may be imported, and the headings, Chinese or English, by which they are known.

A heading is compared without regard to case, spaces, hyphens, underscores and full-width forms. A number
whose unit has no column of its own is known only by headings that state the unit.
"""

import unicodedata
from collections.abc import Mapping, Sequence
from typing import NamedTuple

# kind of file -> column -> its headings besides the column's own name
HEADINGS: dict[str, dict[str, tuple[str, ...]]] = {
    "certificates": {
        "enterprise": ("企业", "企业代码", "用能单位", "用能单位代码"),
        "instrument": ("management number", "管理编号", "器具编号", "计量器具编号", "仪表编号"),
        "number": ("certificate number", "证书编号", "证书号"),
        "kind": ("certificate kind", "证书类型", "证书类别", "类型", "检定/校准"),
        "laboratory": ("issued by", "检定机构", "校准机构", "检定/校准机构", "机构", "实验室"),
        "performed_on": ("date", "检定日期", "校准日期", "检定/校准日期", "日期"),
        "valid_until": ("valid to", "有效期至", "有效期", "有效日期"),
        "conforms": ("conformity", "result", "结论", "检定结论", "符合性", "是否合格"),
        "expanded_uncertainty_pct": ("expanded uncertainty (%)", "U (%)", "扩展不确定度(%)", "扩展不确定度%"),
        "k": ("coverage factor", "包含因子", "包含因子k", "k值"),
        "file": ("certificate file", "证书文件", "文件", "附件"),
    },
    "instruments": {
        "enterprise": ("企业", "企业代码", "用能单位", "用能单位代码"),
        "id": ("instrument", "management number", "管理编号", "器具编号", "计量器具编号", "仪表编号"),
        "point": ("metering point", "计量点", "计量点编号"),
        "name_zh": ("name", "名称", "器具名称", "计量器具名称", "中文名称"),
        "name_en": ("english name", "英文名称"),
        "kind": ("instrument kind", "器具类别", "器具种类", "类别", "种类"),
        "maker": ("manufacturer", "生产厂家", "制造厂", "制造商", "厂家"),
        "model": ("model/specification", "型号", "型号规格", "规格型号", "型号/规格"),
        "serial": ("serial number", "factory number", "出厂编号", "序列号"),
        "accuracy_class": ("class", "准确度等级", "精度等级", "等级"),
        "measuring_range": ("range", "测量范围", "量程"),
        "place": ("installation place", "安装地点", "安装使用地点", "安装使用地点及用途"),
        "state": ("status", "状态", "使用状态"),
        "valid_from": ("from", "生效日期", "变更日期"),
    },
    "production": {
        "enterprise": ("企业", "企业代码", "用能单位", "用能单位代码"),
        "product": ("product code", "产品代码", "产品编码"),
        "name_zh": ("name", "产品名称", "名称", "中文名称"),
        "name_en": ("english name", "英文名称"),
        "unit": ("unit of measurement", "单位", "计量单位"),
        "period": ("month", "期间", "周期", "月份", "统计期", "统计期间"),
        "quantity": ("production", "产量", "数量"),
    },
    "output-value": {
        "enterprise": ("企业", "企业代码", "用能单位", "用能单位代码"),
        "period": ("month", "期间", "周期", "月份", "统计期", "统计期间"),
        "amount_10k_cny": ("amount (10^4 CNY)", "产值(万元)", "产值万元", "总产值(万元)", "工业总产值(万元)"),
        "price_basis": ("prices", "价格基准", "价格口径", "价格"),
    },
}
REQUIRED: dict[str, frozenset[str]] = {
    "certificates": frozenset({"instrument", "number", "kind", "laboratory", "performed_on"}),
    "instruments": frozenset({"id"}),
    "production": frozenset({"product", "unit", "period", "quantity"}),
    "output-value": frozenset({"period", "amount_10k_cny", "price_basis"}),
}


class Recognised(NamedTuple):
    """What the header row of a file says: column -> its place, and what is wrong or not used."""

    places: Mapping[str, int]
    missing: tuple[str, ...]
    repeated: tuple[str, ...]  # headings that name a column which another heading named already
    unknown: tuple[str, ...]  # headings that name no column; their cells are not read


def recognise(kind: str, header: Sequence[str]) -> Recognised:
    """The columns behind the headings of a file of this kind."""
    known = {_plain(text): column for column, others in HEADINGS[kind].items() for text in (column, *others)}
    places: dict[str, int] = {}
    repeated: list[str] = []
    unknown: list[str] = []
    for place, heading in enumerate(header):
        column = known.get(_plain(heading))
        if column is None:
            unknown += [heading] if heading.strip() else []
        elif column in places:
            repeated.append(heading)
        else:
            places[column] = place
    missing = tuple(column for column in HEADINGS[kind] if column in REQUIRED[kind] and column not in places)
    return Recognised(places, missing, tuple(repeated), tuple(unknown))


def headings_of(kind: str, column: str) -> str:
    """The headings by which a column is known, for people."""
    return " | ".join((column, *HEADINGS[kind][column]))


def _plain(heading: str) -> str:
    text = unicodedata.normalize("NFKC", heading).casefold()
    return "".join(letter for letter in text if not letter.isspace() and letter not in "-_")
