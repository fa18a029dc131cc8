/** A chart that a program drew, or one part of a composite one. What is there depends on its type. */
export interface Chart {
  /** One of {@link ChartType}. */
  type?: string
  title?: string
  /** The picture, in base64. */
  png?: string
  x_label?: string
  y_label?: string
  x_scale?: string
  y_scale?: string
  x_ticks?: number[]
  y_ticks?: number[]
  x_tick_labels?: string[]
  y_tick_labels?: string[]
  elements?: ChartElement[]
}

/** A line, a set of points, a bar, a wedge, a box, or a chart within a composite one. */
export interface ChartElement {
  /** The type of a chart within a composite one. */
  type?: string
  title?: string
  png?: string
  x_label?: string
  y_label?: string
  label?: string
  /** Pairs of x and y. */
  points?: number[][]
  /** The height of a bar. */
  value?: string
  /** The series a bar belongs to. */
  group?: string
  /** Degrees. */
  angle?: number
  radius?: number
  min?: number
  first_quartile?: number
  median?: number
  third_quartile?: number
  max?: number
  outliers?: number[]
}

/** A chart with two labelled axes. */
export type Chart2D = Pick<Chart, 'type' | 'title' | 'png' | 'x_label' | 'y_label' | 'elements'>

/** A chart of points, whose elements are {@link PointData}. */
export type PointChart = Pick<
  Chart,
  | 'type'
  | 'title'
  | 'png'
  | 'x_label'
  | 'y_label'
  | 'x_ticks'
  | 'y_ticks'
  | 'x_tick_labels'
  | 'y_tick_labels'
  | 'x_scale'
  | 'y_scale'
  | 'elements'
>

/** Lines. */
export type LineChart = PointChart & { type: 'line' }
/** Points without lines. */
export type ScatterChart = PointChart & { type: 'scatter' }
/** Bars, whose elements are {@link BarData}. */
export type BarChart = Chart2D & { type: 'bar' }
/** Wedges, whose elements are {@link PieData}. */
export type PieChart = Pick<Chart, 'type' | 'title' | 'png' | 'elements'> & { type: 'pie' }
/** Boxes, whose elements are {@link BoxAndWhiskerData}. */
export type BoxAndWhiskerChart = Chart2D & { type: 'box_and_whisker' }
/** Several charts in one figure, which are its elements. */
export type CompositeChart = Pick<Chart, 'type' | 'title' | 'png' | 'elements'> & { type: 'composite_chart' }

/** A line, or a set of points. */
export type PointData = Pick<ChartElement, 'label' | 'points'>
/** A bar. */
export type BarData = Pick<ChartElement, 'group' | 'label' | 'value'>
/** A wedge. */
export type PieData = Pick<ChartElement, 'angle' | 'label' | 'radius'>
/** A box. */
export type BoxAndWhiskerData = Pick<ChartElement, 'first_quartile' | 'label' | 'max' | 'median' | 'min' | 'outliers'>
